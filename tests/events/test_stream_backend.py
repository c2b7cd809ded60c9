"""Recordings over block readers: order, cameras, sensor bounds, laziness, one pass."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BlockReader, Checkpoint, Columns, Frame, Side, read_stored
from eventhpe.events.recording import OutOfOrderError, Recording
from eventhpe.events.stream_backend import StreamBackend
from eventhpe.events.types import Events
from tests.events.block_readers import ListReader, Row


def recording(reader: BlockReader, stream: int | str | None = None) -> Recording:
    return Recording(StreamBackend(reader, stream))


def rows_of(events: Events) -> list[tuple[int, ...]]:
    return list(zip(*(getattr(events, c).tolist() for c in "txyp"), strict=True))


def expected(reader: ListReader, camera: int, size: tuple[int, int]) -> list[tuple[int, ...]]:
    """The plain way: all rows of the camera inside the sensor, stably sorted, from the earliest."""
    rows = [r for block in reader.rows for r in block if r[4] == camera and r[1] < size[1] and r[2] < size[0]]
    rows.sort(key=lambda r: r[0])
    return [(t - rows[0][0], x, y, p) for t, x, y, p, _ in rows]


ROW = st.tuples(
    st.integers(0, 60), st.integers(0, 9), st.integers(0, 6), st.integers(0, 1), st.integers(0, 1)
)
BLOCKS = st.lists(st.lists(ROW, max_size=6), min_size=1, max_size=7)


@settings(max_examples=150, deadline=None)
@given(BLOCKS, st.integers(0, 1), st.data())
def test_equals_the_plain_way(blocks: list[list[Row]], camera: int, data: st.DataObject) -> None:
    """Any disorder, any camera: whole reads, parts, windows, search, raw; before and after indexing."""
    reader = ListReader(blocks, streams=("left", "right"))
    want = expected(reader, camera, (6, 8))
    n = len(want)
    whole = recording(reader, camera)
    assert rows_of(whole.read()) == want == rows_of(whole.read())
    lazy = recording(reader, camera)
    assert lazy.num_events == n
    i = data.draw(st.integers(0, n))
    j = data.draw(st.integers(i, n))
    assert rows_of(lazy.read(i, j)) == want[i:j]
    for t in range(0, 62, 7):
        assert lazy.index_at(t) == sum(row[0] < t for row in want)
    assert [row for events in lazy.blocks() for row in rows_of(events)] == want
    raw = lazy.read_raw()
    flat = [row for block in blocks for row in block]
    assert list(zip(*(getattr(raw, c).tolist() for c in ("t", "x", "y", "p", "camera")), strict=True)) == flat
    windows = list(lazy.windows("time", duration_us=9))
    assert [row for _, _, events in windows for row in rows_of(events)] == want
    info = lazy.info()
    assert info.num_on == sum(row[3] for row in want) and info.elements == {"blocks": len(blocks)}
    assert (info.x_min, info.y_max) == (
        (min(r[1] for r in want), max(r[2] for r in want)) if want else (None, None)
    )
    again = pickle.loads(pickle.dumps(lazy))
    assert rows_of(again.read(i, j)) == want[i:j]


@settings(max_examples=100, deadline=None)
@given(BLOCKS)
def test_one_pass_gives_the_same_or_says_that_it_can_not(blocks: list[list[Row]]) -> None:
    reader = ListReader([[(*row[:4], 0) for row in block] for block in blocks])
    want = expected(reader, 0, (6, 8))
    one = recording(reader)
    got, offsets = [], set()
    try:
        for offset, events in one.once():
            got += rows_of(events)
            offsets.add(offset)
    except OutOfOrderError:
        ends = [
            (min(r), max(r)) for r in ([r[0] for r in b if r[1] < 8 and r[2] < 6] for b in reader.rows) if r
        ]
        assert any(b[0] < a[1] for a, b in itertools.pairwise(ends))
        return
    assert got == want and len(offsets) <= 1
    decoded = len(reader.decoded)
    assert one.num_events == len(want)
    assert len(reader.decoded) == decoded, "the pass has indexed the file"


def test_reads_no_more_than_it_must() -> None:
    blocks = [[(100 * k + i, i, 0, 1, 0) for i in range(6)] for k in range(5)]
    reader = ListReader(blocks)
    lazy = recording(reader)
    assert lazy.sensor_size == (6, 8) and lazy.format == "rows" and reader.decoded == []
    assert lazy.num_events == 30 and reader.decoded == [0, 1, 2, 3, 4]
    assert rows_of(lazy.between(200, 300))[0] == (200, 0, 0, 1) and reader.decoded[5:] == [2, 3]
    lazy.between(203, 206)
    assert reader.decoded[7:] == [], "the last blocks are remembered"


def test_what_is_told() -> None:
    rows = [[(50, 1, 1, 1, 0), (40, 2, 2, 0, 0), (60, 8, 0, 1, 0)], [(55, 3, 3, 1, 0), (70, 65535, 0, 1, 0)]]
    info = recording(ListReader(rows)).info()
    assert info.num_events == 3 and info.num_backward == 1 and info.largest_backward_us == 10
    assert (info.t_first_us, info.t_last_us, info.t_offset_us) == (50, 55, 40)
    assert "2 events outside the 8x6 sensor dropped" in info.warnings
    assert any("time goes backwards at 1 events (by at most 10 µs)" in note for note in info.warnings)
    assert "2 rows imagined" in info.warnings
    assert (info.num_frames, info.num_triggers, info.num_imu) == (2, 2, 2)


def test_frames_triggers_and_imu_are_on_the_relative_clock() -> None:
    r = recording(ListReader([[(50, 1, 1, 1, 0)], [(90, 1, 1, 1, 0)]]))
    assert r.frames is not None and r.frames.t_us.tolist() == [0, 40] and r.frames[1].max() == 1
    assert r.triggers is not None and r.triggers.t_us.tolist() == [0, 40]
    assert r.imu is not None and r.imu.t_us.tolist() == [0, 40] and r.imu.accel[1].tolist() == [1, 1, 1]


def test_the_camera_with_most_events_is_read_unless_told() -> None:
    rows = [[(1, 0, 0, 1, 0), (2, 1, 1, 1, 1), (3, 15, 1, 0, 1)]]
    sizes = ((6, 8), (12, 16))
    r = recording(ListReader(rows, streams=("left", "right"), stream_sizes=sizes))
    assert r.num_events == 2 and r.sensor_size == (12, 16) and r.read().t.tolist() == [0, 1]
    assert any("2 event streams (left, right); reading right" in note for note in r.warnings)
    left = recording(ListReader(rows, streams=("left", "right"), stream_sizes=sizes), "left")
    assert left.sensor_size == (6, 8) and left.num_events == 1
    with pytest.raises(FormatError, match="0 = left, 1 = right"):
        recording(ListReader(rows, streams=("left", "right")), 2)


def test_unknown_size_is_the_extent_of_the_events() -> None:
    r = recording(ListReader([[(1, 300, 20, 1, 0), (2, 65535, 0, 1, 0)]], sensor_size=None))
    assert r.sensor_size == (21, 301) and r.num_events == 1
    assert any("taken as 301x21" in note for note in r.warnings)
    assert "1 events outside the sensor dropped" in r.warnings


def test_nothing_inside() -> None:
    for blocks in ([], [[]], [[(5, 200, 0, 1, 0)]]):
        r = recording(ListReader(blocks))
        assert r.num_events == 0 and len(r.read()) == 0 and r.duration_us == 0 and r.end_us == 0
        assert r.info().t_first_us is None and list(r.windows("time", duration_us=5)) == []
        assert r.index_at(3) == 0 and list(r.once()) == []


def test_impossible_times_and_files_that_change() -> None:
    with pytest.raises(FormatError, match="century"):
        _ = recording(ListReader([[(0, 0, 0, 0, 0)], [(1 << 60, 0, 0, 0, 0)]])).num_events
    with pytest.raises(FormatError, match="century"):
        list(recording(ListReader([[(0, 0, 0, 0, 0)], [(1 << 60, 0, 0, 0, 0)]])).once())
    reader = ListReader([[(1, 1, 1, 1, 0)]])
    r = recording(reader)
    assert r.num_events == 1
    reader.rows[0].append((2, 2, 2, 1, 0))
    with pytest.raises(FormatError, match="changed"):
        r.read(0, 1)


def test_a_reader_that_stands_still_is_stopped() -> None:
    class Still(ListReader):
        def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
            return 0, at

    with pytest.raises(FormatError, match="advance"):
        _ = recording(Still([[]])).num_events


def test_whole_reads_of_many_and_of_large_blocks() -> None:
    rng = np.random.default_rng(0)
    table = np.zeros((400_000, 5), np.int64)
    table[:, 0] = np.sort(rng.integers(0, 10**6, len(table)))
    table[:, 1], table[:, 2] = rng.integers(0, 8, len(table)), rng.integers(0, 6, len(table))
    cuts = [0, 1000, 131_072, 350_000, 400_000]  # one is larger than a block is meant to be
    reader = ListReader([table[a:b].tolist() for a, b in itertools.pairwise(cuts)])
    r = recording(reader)
    events = r.read()
    assert np.array_equal(events.t, table[:, 0] - table[0, 0]) and np.array_equal(events.x, table[:, 1])
    raw, side = read_stored(reader)
    assert np.array_equal(raw.t, table[:, 0]) and side.elements["blocks"] == 4
    assert np.array_equal(r.read(900, 360_000).t, events.t[900:360_000])


def test_path_is_named(tmp_path: Path) -> None:
    reader = ListReader([[(0, 0, 0, 0, 0)], [(1 << 60, 0, 0, 0, 0)]], path=tmp_path / "walk.aedat")
    with pytest.raises(FormatError, match=r"walk\.aedat"):
        _ = recording(reader).num_events


@pytest.mark.parametrize("events", [[(50, 1, 1, 1, 0), (60, 1, 1, 1, 0)], []])
def test_impossible_times_beside_the_events_are_dropped(events: list[Row]) -> None:
    class Damaged(ListReader):
        def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
            side.add_triggers(np.array([2**62, -(2**63), 70]), np.ones(3, np.uint8))
            side.add_imu(np.array([-(2**62)]), np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(1))
            side.frames.append(Frame(2**62, (0,)))
            return super().decode(at, out, side)

    r = recording(Damaged([events]))
    assert r.triggers is not None and (np.diff(r.triggers.t_us) >= 0).all()
    assert r.triggers.t_us.max() <= 70 and len(r.triggers) == 1 + bool(events)
    assert r.frames is not None and len(r.frames) == 1
    assert "3 triggers or IMU samples with impossible times dropped" in r.warnings
    assert "1 frames with impossible times dropped" in r.warnings
