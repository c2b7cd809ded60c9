"""F1: a small recording in DHP19's format that is the same everywhere, bit for bit.

The authors' MATLAB reader and frame generator have been run on it, so what they make of it is known: with
these events and markers, a loader can be compared with them number by number. It holds signal, noise, a hot
pixel, both infrared spots, rows and camera numbers that do not exist, and three special events.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eventhpe.events.formats.multidavis_writer import MULTIDAVIS346_CLASS, MultiDavisWriter

F1_RECORDS = 75_154
F1_BYTES = 601_540
F1_SHA256 = "a54e39ee155f2468fad9e3f3f9b4b4ee51f7fd473649574417f42fe77eaf4d0a"
F1_SPECIALS_US = (1_000_000, 1_000_001, 4_000_000)

F1_HEADER = (
    "#!AER-DAT2.0",
    "# This is a raw AE data file - do not edit",
    "# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event",
    "# Timestamps tick is 1 us",
    "# created Mon Jan 01 00:00:00 CET 2018",
    f"# AEChip: {MULTIDAVIS346_CLASS}",
    "# End of Preferences",
)

_FIELDS = (
    "head", "shoulderR", "shoulderL", "elbowR", "elbowL", "hipR", "hipL",
    "handR", "handL", "kneeR", "kneeL", "footR", "footL",
)  # fmt: skip


@dataclass(frozen=True)
class F1:
    """The records in file order, without the dummy record that comes first.

    Attributes:
        t: (N,) µs.
        x, y, p, camera: (N,) columns, rows (0 on top), polarities and channels; nothing where not `event`.
        event: (N,) bool, False for special events and for addresses that are damaged.
        address: (N,) the address word of those.
    """

    t: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    p: NDArray[np.int64]
    camera: NDArray[np.int64]
    event: NDArray[np.bool_]
    address: NDArray[np.int64]


def _draws(seed: int, n: int) -> NDArray[np.int64]:
    """(n,) numbers of the linear congruential generator of Numerical Recipes."""
    out = np.empty(n, np.int64)
    for i in range(n):
        seed = (1664525 * seed + 1013904223) % (1 << 32)
        out[i] = seed
    return out


def f1() -> F1:
    """Build the records."""
    r, q = _draws(12345, 60_000), _draws(777, 3_000)
    i = np.arange(60_000)
    t, ch = 900_000 + i * 3_200_000 // 60_000, r >> 30
    col = 60 + 40 * ch + 120 * (t - 900_000) // 3_200_000 + ((r >> 16) & 31)
    row = 60 + 20 * ch + ((r >> 8) & 63)
    noise = i % 50 == 49
    col, row = np.where(noise, (r >> 3) % 346, col), np.where(noise, (r >> 12) % 260, row)
    one, q1, q2 = np.ones(1, np.int64), q[:2000], q[2000:]
    blocks = [  # t, column, row, polarity, channel, is an event, address
        (t, col, row, (r >> 5) & 1, ch, True, 0),
        (1_000_010 + 249 * i[:12_000], 300, 200, 1, 1, True, 0),
        (1_000_050 + 1400 * i[:2000], 88 + (q1 >> 8) % 29, 115 + (q1 >> 16) % 29, 0, 2, True, 0),
        (1_000_070 + 2900 * i[:1000], 214 + (q2 >> 8) % 6, 136 + (q2 >> 16) % 7, 0, 3, True, 0),
        (1_000_090 + 25_000 * i[:100], 0, 0, 0, 0, False, 306 << 22 | 10 << 12 | 2),
        (1_000_095 + 50_000 * i[:50], 0, 0, 0, 0, False, 100 << 22 | 10 << 12 | 5),
        *((one * t_us, 0, 0, 0, 0, False, 0x400) for t_us in F1_SPECIALS_US),
    ]
    columns = [
        np.concatenate([np.broadcast_to(block[k], block[0].shape) for block in blocks]) for k in range(7)
    ]
    order = np.argsort(columns[0], kind="stable")
    t, x, y, p, camera, event, address = (column[order] for column in columns)
    return F1(t, x, y, p, camera, event.astype(bool), address)


def write_f1(path: Path) -> F1:
    """Write the .aedat file; returns its records."""
    records = f1()
    edges = np.flatnonzero(np.diff(records.event)) + 1
    with MultiDavisWriter(path, t_offset_us=0, header=F1_HEADER) as writer:
        for i, j in zip([0, *edges], [*edges, len(records.t)], strict=True):
            t, x, y, p, camera, event, address = (
                getattr(records, name)[i:j] for name in ("t", "x", "y", "p", "camera", "event", "address")
            )
            if event[0]:
                writer.append_merged(t, x, y, p, camera)
            else:
                writer.append_words(address, t)
    return records


def f1_vicon(rows: int = 300) -> dict[str, NDArray[np.float64]]:
    """Field name -> (rows, 3) mm: X = 100 j + n, Y = -50 j + 2 n, Z = 1800 - 120 j + n / 2 with joint j and
    the row n counted from 1; handR is missing in rows 50 to 60, hipL in all."""
    n = np.arange(1, rows + 1, dtype=np.float64)
    xyz = {
        name: np.stack([100 * j + n, -50 * j + 2 * n, 1800 - 120 * j + n / 2], axis=-1)
        for j, name in enumerate(_FIELDS, start=1)
    }
    xyz["handR"][49:60] = np.nan
    xyz["hipL"][:] = np.nan
    return xyz
