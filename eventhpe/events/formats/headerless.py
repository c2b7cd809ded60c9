"""Which records a file without any header holds, AEDAT 1.0 or Prophesee DAT, told by times and pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_RECORDS = 8192  # looked at
_FEWEST = 64  # fewer records can look like anything
_LONGEST_MEAN_US = 50_000  # between events; every pixel has some noise
_LONGEST_STEP_US = 1_800_000_000
_LARGEST_SENSOR = 2048
_SPECIAL = 0x8000  # AEDAT 1.0: external input


@dataclass(frozen=True)
class _Guess:
    """What bytes would mean as records of one kind: (n,) uint32 times, pixels; are all fields possible."""

    t: NDArray[np.uint32]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    possible: bool

    def fits(self, backward: float) -> bool:
        """Whether a camera can have written this; `backward`: tolerated share of steps back in time."""
        if len(self.t) < _FEWEST or not self.possible:
            return False
        t = self.t.astype(np.int64)
        steps = (t[1:] - t[:-1] + 2**31) % 2**32 - 2**31  # the 32-bit clock may wrap
        if np.count_nonzero(steps < 0) > backward * len(steps):
            return False
        if (
            not 0 < int(steps.sum()) <= _LONGEST_MEAN_US * len(steps)
            or np.abs(steps).max() > _LONGEST_STEP_US
        ):
            return False
        return min(len(np.unique(self.x)), len(np.unique(self.y))) >= 4


def _as_aedat1(data: bytes) -> _Guess:
    records = np.frombuffer(data, np.dtype([("a", ">u2"), ("t", ">u4")]), min(len(data) // 6, _RECORDS))
    address = records["a"].astype(np.int64)
    possible = bool(np.count_nonzero(address & _SPECIAL) <= len(address) // 10)
    return _Guess(records["t"].astype(np.uint32), address >> 1 & 0x7F, address >> 8 & 0x7F, possible)


def _as_dat(data: bytes) -> _Guess:
    records = np.frombuffer(data, np.dtype([("t", "<u4"), ("w", "<u4")]), min(len(data) // 8, _RECORDS))
    word = records["w"].astype(np.int64)
    x, y = word & 0x3FFF, word >> 14 & 0x3FFF
    possible = bool((word >> 28 <= 1).all() and max(x.max(initial=0), y.max(initial=0)) < _LARGEST_SENSOR)
    return _Guess(records["t"].astype(np.uint32), x, y, possible)


def records_of(path: Path) -> Literal["aedat1", "dat"] | None:
    """Which records the file begins with; None unless one kind is clearly right, the other clearly wrong."""
    with path.open("rb") as file:
        data = file.read(8 * _RECORDS)
    if not any(c < 0x09 or c >= 0x7F for c in data):  # plain text, whose digits may count upwards too
        return None
    aedat1, dat = _as_aedat1(data), _as_dat(data)
    if aedat1.fits(0.01) and not dat.fits(0.2):
        return "aedat1"
    if dat.fits(0.01) and not aedat1.fits(0.2):
        return "dat"
    return None
