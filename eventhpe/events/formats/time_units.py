"""Units of stored times, and the rule for columns that do not tell theirs."""

from __future__ import annotations

from typing import Any

import numpy as np

from eventhpe.events.formats.options import TimeUnit

#: Microseconds per unit as a power of ten.
EXPONENTS: dict[TimeUnit, int] = {"s": 6, "ms": 3, "us": 0, "ns": -3}

#: Times beyond ±10^18 µs (31,700 years) are damage; the rest leaves room for sums in int64.
LARGEST_US = 10**18


def unit_by_rule(dtype: np.dtype[Any]) -> TimeUnit:
    """Unit of a time column that says nothing: floats are seconds, integers are microseconds."""
    return "s" if dtype.kind == "f" else "us"
