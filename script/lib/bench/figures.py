# SPDX-License-Identifier: Apache-2.0
"""What is made of the values of the rounds, and how numbers are written."""
import statistics
from typing import NamedTuple


class Spread(NamedTuple):
    """The median of some values, with the smallest and the largest."""
    median: float
    least: float
    most: float


def spread(values):
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def by_round(cell, base, combine):
    """combine(value, base value) for each round that has both: what disturbs a round disturbs both."""
    if "values" not in cell or "values" not in base:
        return None
    return spread([combine(value, beside) for value, beside in zip(cell["values"], base["values"])])


def ratio(cell, base):
    return by_round(cell, base, lambda value, beside: value / beside)


def more(cell, base):
    return by_round(cell, base, lambda value, beside: value - beside)


def rounded(value, digits=4):
    """With so many digits that count, which is what is worth keeping of a measurement."""
    return float(f"{value:.{digits}g}")


def number(value):
    """At least three digits, no exponent."""
    magnitude = abs(value)
    return f"{value:,.0f}" if magnitude >= 100 else f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"


def times(value):
    """A ratio: near 1 two decimals count."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def size(kib):
    if kib < 0:
        return f"-{size(-kib)}"
    if kib < 1:
        return f"{kib * 1024:.0f} B"
    return f"{kib / 1024:.1f} MiB" if kib >= 1024 else f"{kib:.0f} KiB" if kib >= 10 else f"{kib:.1f} KiB"
