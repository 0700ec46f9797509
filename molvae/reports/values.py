"""Values as a reader sees them."""

from __future__ import annotations

import math

MISSING = "\N{EN DASH}"


def show_value(value: object) -> str:
    """Value -> short text: four digits of a number, a dash for what is missing."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: MISSING}[value]
    if isinstance(value, float):
        return MISSING if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(show_value, value)) or MISSING
    return f"{value:,}" if isinstance(value, int) else str(value)
