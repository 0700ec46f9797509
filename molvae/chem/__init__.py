"""Strings and molecules. Uses RDKit, selfies, NumPy and pandas, but not torch."""
