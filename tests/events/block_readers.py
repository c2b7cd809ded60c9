"""A block reader over rows in memory, for tests of what is built on readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eventhpe.events.blocks import BlockReader, Checkpoint, Columns, Frame, Side

Row = tuple[int, int, int, int, int]
"""t, x, y, p, camera"""


class ListReader(BlockReader):
    """Hands over the given blocks of rows one after the other; rows as a file would store them."""

    format = "rows"

    def __init__(
        self,
        blocks: Sequence[Sequence[Row]],
        *,
        sensor_size: tuple[int, int] | None = (6, 8),
        streams: tuple[str, ...] = ("events",),
        stream_sizes: tuple[tuple[int, int] | None, ...] = (),
        path: Path = Path("rows"),
    ) -> None:
        self.path = path
        self.sensor_size = sensor_size
        self.streams = streams
        self.stream_sizes = stream_sizes
        self.rows = [list(block) for block in blocks]
        self.decoded: list[int] = []

    def first(self) -> Checkpoint:
        return (0,)

    def progress(self, at: Checkpoint) -> float:
        return at[0] / max(1, len(self.rows))

    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        k = at[0]
        self.decoded.append(k)
        block = self.rows[k] if self.rows else []
        out.grow(len(block))
        table = np.array(block, np.int64).reshape(-1, 5)
        n = len(table)
        out.t[:n], out.x[:n], out.y[:n], out.p[:n], out.camera[:n] = table.T
        side.elements["blocks"] += 1
        side.lose("rows imagined", 1)
        side.frames.append(Frame(int(table[0, 0]) if n else 0, (k,), int(table[0, 4]) if n else 0))
        side.add_triggers(table[:1, 0], np.ones(min(n, 1), np.uint8))
        side.add_imu(table[:1, 0], np.full((min(n, 1), 3), k), np.zeros((min(n, 1), 3)), np.zeros(min(n, 1)))
        return n, (k + 1,) if k + 1 < len(self.rows) else None

    def load_frame(self, ref: tuple[int, ...]) -> np.ndarray:
        size = self.sensor_size
        assert size is not None
        return np.full(size, ref[0], np.uint8)
