"""The writer of several DAVIS346 in one file: DHP19's fixture, what its readers trip over, merging."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import FormatError, ShapeError
from eventhpe.events.formats.multidavis_writer import MultiDavisWriter, merge_streams
from eventhpe.events.open import open_recording
from eventhpe.events.types import Events, RawEvents
from tests.data.dhp19_fixture import F1_BYTES, F1_RECORDS, F1_SHA256, F1_SPECIALS_US, f1_vicon, write_f1

SIZE = (260, 346)


def random_events(n: int, seed: int, *, step: int = 50, size: tuple[int, int] = SIZE) -> Events:
    rng = np.random.default_rng(seed)
    t, x, y, p = (rng.integers(0, end, n) for end in (step, size[1], size[0], 2))
    return Events.from_columns(np.cumsum(t), x, y, p, size)


def blocks(events: Events, n: int) -> Iterator[Events]:
    return (events.slice(i, min(i + n, len(events))) for i in range(0, len(events), n))


def official_records(path: Path) -> list[tuple[int, int]]:
    """Address and time as DHP19's reader takes them: header lines are those that begin with #, and the first
    record is skipped."""
    data = path.read_bytes()
    while data[:1] == b"#":
        data = data[data.index(b"\n") + 1 :]
    return list(struct.iter_unpack(">II", data[8 : len(data) // 8 * 8]))


def preferences_end(path: Path) -> bytes:
    """What a reader takes for data that stops at the end of jAER's preferences."""
    data = path.read_bytes()
    return data[data.index(b"\n", data.index(b"#End of Preferences")) + 1 :]


def test_the_fixture_is_bit_for_bit_that_of_dhp19(tmp_path: Path) -> None:
    path = tmp_path / "mov1.aedat"
    records = write_f1(path)
    content = path.read_bytes()
    assert len(content) == F1_BYTES and len(records.t) + 1 == F1_RECORDS
    assert hashlib.sha256(content).hexdigest() == F1_SHA256
    polarity = [address for address, _ in official_records(path) if not address & 0x80000400]
    assert len(polarity) == 75_150  # as DHP19's own reader counts
    for camera in range(4):
        with open_recording(path, stream=camera) as recording:
            events, zero = recording.read(), recording.t_offset_us
            triggers, warnings = recording.triggers, recording.warnings
        skip = 1 if camera == 0 else 0  # the dummy record
        mine = records.event & (records.camera == camera)
        assert np.array_equal(events.t[skip:] + zero, records.t[mine])
        for name in "xyp":
            assert np.array_equal(getattr(events, name)[skip:], getattr(records, name)[mine])
        assert triggers is not None and (triggers.t_us + zero).tolist() == list(F1_SPECIALS_US)
        lost = ["50 events with a camera number above 3 dropped"]
        lost += ["100 events outside the 346x260 sensor dropped"] if camera == 2 else []
        assert sorted(warnings) == sorted(lost)


def test_the_markers_of_the_fixture() -> None:
    vicon = f1_vicon()
    assert len(vicon) == 13 and {a.shape for a in vicon.values()} == {(300, 3)}
    # Means over rows 1..43 and 43..83 (counted from 1), as in DHP19's own labels of its first two frames.
    assert vicon["head"][:43].mean(axis=0).tolist() == [122, -6, 1691]
    hand = np.nanmean(vicon["handR"][42:83], axis=0)
    assert np.allclose(hand, (865.9333, -268.1333, 872.9667), atol=1e-4)
    assert np.isnan(vicon["hipL"]).all()


def test_round_trip_of_four_cameras_and_their_triggers(tmp_path: Path) -> None:
    events = {camera: random_events(500 + 100 * camera, camera) for camera in range(4)}
    merged = list(merge_streams({camera: blocks(events[camera], 64) for camera in events}))
    for name in ("a.aedat", "b.aedat"):
        with MultiDavisWriter(tmp_path / name, t_offset_us=90_000) as writer:
            writer.special(0)
            for part in merged:
                if name == "a.aedat":
                    writer.append_merged(part.t, part.x, part.y, part.p, part.camera)
                    continue
                for i in range(len(part)):
                    one = Events(
                        part.t[i : i + 1], part.x[i : i + 1], part.y[i : i + 1], part.p[i : i + 1], SIZE
                    )
                    writer.append(one, int(part.camera[i]))
            writer.special(10**6, camera=2)
    path = tmp_path / "a.aedat"
    assert path.read_bytes() == (tmp_path / "b.aedat").read_bytes()
    for camera in range(4):
        with open_recording(path, stream=camera) as recording:
            back, zero, triggers = recording.read(), recording.t_offset_us - 90_000, recording.triggers
            assert recording.warnings == ()
        skip = 1 if camera == 0 else 0
        assert np.array_equal(back.t[skip:] + zero, events[camera].t)
        for column in "xyp":
            assert np.array_equal(getattr(back, column)[skip:], getattr(events[camera], column))
        assert triggers is not None and (triggers.t_us + zero).tolist() == [0, 10**6]
    assert [t for a, t in official_records(path) if a & 0x400] == [90_000, 1_090_000]
    assert official_records(path)[-1] == (0x402, 1_090_000)


@pytest.mark.parametrize("row", [116, 117, 118, 119])
def test_a_first_event_that_looks_like_a_header_line(tmp_path: Path, row: int) -> None:
    event = Events.from_columns([0, 7], [10, 11], [row, row], [1, 0], SIZE)
    with MultiDavisWriter(tmp_path / "a.aedat") as writer:
        writer.append(event, 3)
    with_dummy = [((259 - row) << 22 | 335 << 12 | 1 << 11 | 3, 1_000_000)]
    assert with_dummy[0][0] >> 24 == ord("#")
    assert official_records(tmp_path / "a.aedat")[:1] == with_dummy
    assert preferences_end(tmp_path / "a.aedat") == (tmp_path / "a.aedat").read_bytes()[-24:]
    with (
        pytest.raises(FormatError, match="header line"),
        MultiDavisWriter(tmp_path / "b.aedat", dummy_first=False) as writer,
    ):
        writer.append(event, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["a.aedat"]


def test_the_first_record_may_be_left_to_the_reader_that_drops_it(tmp_path: Path) -> None:
    events = Events.from_columns([5, 6], [0, 345], [0, 259], [1, 0], SIZE)
    for dummy in (True, False):
        with MultiDavisWriter(tmp_path / "a.aedat", t_offset_us=0, dummy_first=dummy) as writer:
            writer.append(events, 1)
        stored = official_records(tmp_path / "a.aedat")
        assert stored == [(259 << 22 | 345 << 12 | 1 << 11 | 1, 5), (1, 6)][0 if dummy else 1 :]
        with open_recording(tmp_path / "a.aedat", stream=1) as recording:
            assert recording.read().x.tolist() == [0, 345]
    with MultiDavisWriter(tmp_path / "a.aedat", t_offset_us=-5) as writer:
        writer.append(events, 1)  # no time before 0 for the dummy
    assert official_records(tmp_path / "a.aedat")[0][1] == 0
    assert preferences_end(tmp_path / "a.aedat")[:8] == struct.pack(">II", 259 << 22 | 345 << 12, 0)


def test_what_the_format_cannot_hold_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    def refused(error: type[Exception], match: str, *calls: tuple[object, ...], **options: object) -> None:
        with pytest.raises(error, match=match), MultiDavisWriter(tmp_path / "a", **options) as writer:  # type: ignore[arg-type]
            for call in calls:
                writer.append_merged(*call)  # type: ignore[arg-type]

    refused(FormatError, r"x must lie in 0\.\.345", ([0], [346], [0], [0], [0]))
    refused(FormatError, r"y must lie in 0\.\.259", ([0], [0], [-1], [0], [0]))
    refused(FormatError, r"p must lie in 0\.\.1", ([0], [0], [0], [2], [0]))
    refused(FormatError, r"camera must lie in 0\.\.3", ([0], [0], [0], [0], [4]))
    refused(ShapeError, "one length", ([0, 1], [0], [0], [0], [0]))
    refused(ShapeError, "integers", ([0.5], [0], [0], [0], [0]))
    refused(FormatError, "must not decrease", ([5, 4], [0, 0], [0, 0], [0, 0], [0, 0]))
    refused(FormatError, "must not decrease", ([5], [0], [0], [0], [0]), ([4], [0], [0], [0], [1]))
    refused(FormatError, "32-bit", ([1 << 32], [0], [0], [0], [0]), t_offset_us=0)
    refused(FormatError, "32-bit", ([0], [0], [0], [0], [0]), t_offset_us=-1)
    refused(
        FormatError, "AEChip", header=("#!AER-DAT2.0", "# AEChip: eu.seebetter.ini.chips.davis.Davis346blue")
    )
    refused(FormatError, "printable ASCII", header=("#!AER-DAT2.0", "# a\r\n"))
    refused(FormatError, "first header line", header=("# AEChip: MultiDAVIS346BCameraChip",))
    with pytest.raises(FormatError, match="sensor_size"), MultiDavisWriter(tmp_path / "a") as writer:
        writer.append(random_events(3, 0, size=(180, 240)), 0)
    with pytest.raises(FormatError, match="32 bits"), MultiDavisWriter(tmp_path / "a") as writer:
        writer.append_words([1 << 32], [0])
    with (
        pytest.raises(ShapeError, match="2 addresses for 1 times"),
        MultiDavisWriter(tmp_path / "a") as writer,
    ):
        writer.append_words([0x400, 0x400], [0])
    with pytest.raises(FormatError, match="camera"), MultiDavisWriter(tmp_path / "a") as writer:
        writer.special(0, camera=4)
    assert list(tmp_path.iterdir()) == []


def test_a_file_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventhpe.events.formats.multidavis_writer._WRITE_BLOCK", 7)
    events = random_events(100, 3)
    with MultiDavisWriter(tmp_path / "a.aedat") as writer:
        writer.append(events, 2)
    with open_recording(tmp_path / "a.aedat", stream=2) as recording:
        assert recording.read().x.tolist() == events.x.tolist()


def whole(parts: list[RawEvents]) -> list[list[int]]:
    return [np.concatenate([getattr(p, c) for p in parts]).tolist() for c in ("t", "x", "y", "p", "camera")]


def test_merging_is_one_stable_sort_however_the_streams_are_cut() -> None:
    # Steps of 0 to 2 µs: many events share a time, over the edges of blocks too.
    streams = {
        camera: random_events(n, camera, step=3) for camera, n in ((2, 400), (0, 900), (1, 0), (3, 37))
    }
    parts = [[e.t, e.x, e.y, e.p, np.full(len(e), c)] for c, e in sorted(streams.items())]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    expected = [column[order].tolist() for column in columns]
    for sizes in ((1, 1, 1, 1), (5, 100, 1, 3), (1000, 7, 9, 1000)):
        cut = {c: blocks(e, n) for (c, e), n in zip(streams.items(), sizes, strict=True)}
        merged = list(merge_streams(cut))
        assert whole(merged) == expected
        assert all(int(a.t[-1]) < int(b.t[0]) for a, b in itertools.pairwise(merged))


def test_merging_reads_one_block_ahead_and_no_more() -> None:
    taken = {0: 0, 1: 0}

    def stream(camera: int, step: int) -> Iterator[Events]:
        for k in range(100):
            taken[camera] += 1
            yield Events.from_columns([k * step, k * step + 1], [0, 0], [0, 0], [0, 0], SIZE)

    merged = merge_streams({0: stream(0, 10), 1: stream(1, 100)})
    longest = 0
    while taken[0] < 50:
        longest = max(longest, len(next(merged)))
        assert taken[1] * 100 <= taken[0] * 10 + 200
    assert longest <= 4


def test_merging_refuses_disorder_and_other_sensors() -> None:
    back = [random_events(5, 0), random_events(5, 0)]
    with pytest.raises(FormatError, match="camera 1 decrease"):
        list(merge_streams({0: [random_events(5, 0)], 1: back}))
    with pytest.raises(FormatError, match="sensor_size"):
        list(merge_streams({0: [random_events(5, 0)], 1: [random_events(5, 0, size=(180, 240))]}))
    assert list(merge_streams({})) == [] and list(merge_streams({0: [], 1: [Events.empty(SIZE)]})) == []
