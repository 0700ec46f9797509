"""What a parcel costs: a module to mutate."""


def compute_postage(grams: int) -> int:
    """Grams -> cents: 100, and 50 more for what is heavier than 500 grams."""
    return 100 + 50 * (grams > 500)
