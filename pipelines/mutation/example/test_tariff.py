"""Tests that forget the parcel of exactly 500 grams."""

from tariff import compute_postage


def test_a_heavy_parcel_costs_more():
    """Both prices."""
    assert compute_postage(200) == 100
    assert compute_postage(900) == 150
