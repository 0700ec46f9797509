"""Strings and molecules. RDKit, selfies, NumPy, pandas; no torch."""
