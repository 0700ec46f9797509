"""Boiling points at normal pressure in degrees Celsius (CRC Handbook), and tables of them."""

from collections.abc import Mapping
from pathlib import Path

BOILING = {
    "CCC": -42.1,
    "CCCC": -0.5,
    "CCCCC": 36.1,
    "CCCCCC": 68.7,
    "CCCCCCC": 98.4,
    "CCCCCCCC": 125.6,
    "CO": 64.7,
    "CCO": 78.3,
    "CCCO": 97.2,
    "CCCCO": 117.7,
    "CCCCCO": 137.9,
    "CCCCCCO": 157.0,
    "CCN": 16.6,
    "CCCN": 47.8,
    "CCCCN": 77.8,
    "CC(=O)O": 118.0,
    "CCC(=O)O": 141.0,
    "CCCC(=O)O": 163.5,
    "CC(C)=O": 56.1,
    "CCC(C)=O": 79.6,
    "CC(C)O": 82.3,
    "c1ccccc1": 80.1,
    "Cc1ccccc1": 110.6,
    "CCc1ccccc1": 136.2,
    "Oc1ccccc1": 181.7,
    "Nc1ccccc1": 184.1,
}
TWELVE = {name: BOILING[name] for name in list(BOILING)[:12]}  # alkanes and alcohols


def write_table(path: Path, values: Mapping[str, object], column: str = "bp") -> Path:
    """Write a CSV of SMILES and values."""
    rows = "".join(f"{name},{value}\n" for name, value in values.items())
    path.write_text(f"smiles,{column}\n{rows}")
    return path
