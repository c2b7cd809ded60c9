"""Windows, indices and reports, the same for memory and HDF5."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import FormatError, UnitError
from eventhpe.events.conversion import convert
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events

TIMES = [0, 1, 5, 5, 5, 6, 30, 31, 31, 45]


def ramp() -> Events:
    n = len(TIMES)
    return Events.from_columns(TIMES, range(n), [k % 4 for k in range(n)], [k % 2 for k in range(n)], (4, 16))


@pytest.fixture(params=["memory", "hdf5"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recording]:
    made = Recording.from_events(ramp(), t_offset_us=7000)
    if request.param == "hdf5":
        made = open_recording(convert(made, tmp_path / "a.h5"))
    with made:
        yield made


def spans(windows: Iterator[tuple[int, int, Events]]) -> list[tuple[int, int, list[int]]]:
    return [(t0, t1, events.x.tolist()) for t0, t1, events in windows]


def test_whole(recording: Recording) -> None:
    assert recording.num_events == len(recording) == 10
    assert recording.duration_us == 45 and recording.end_us == 46
    assert recording.t_offset_us == 7000 and recording.sensor_size == (4, 16)
    assert recording.read().t.tolist() == TIMES
    assert recording.read(8).x.tolist() == [8, 9] and recording.read(-1).x.tolist() == [9]
    assert recording.read(3, 2).x.tolist() == [] and recording.read(5, 99).x.tolist() == [5, 6, 7, 8, 9]
    assert recording.read_raw().t.tolist() == [7000 + t for t in TIMES]
    assert "16x4" in repr(recording)


def test_index_at_every_time(recording: Recording) -> None:
    for t in range(-3, 50):
        assert recording.index_at(t) == int(np.searchsorted(TIMES, t, side="left"))
    assert recording.between(5, 30).x.tolist() == [2, 3, 4, 5]


def test_time_windows_tick_through_silence(recording: Recording) -> None:
    got = spans(recording.windows("time", duration_us=10))
    assert got == [
        (0, 10, [0, 1, 2, 3, 4, 5]), (10, 20, []), (20, 30, []), (30, 40, [6, 7, 8]), (40, 50, [9]),
    ]  # fmt: skip
    assert spans(recording.windows("time", duration_us=10, drop_last=True)) == got[:-1]
    assert spans(recording.windows("time", duration_us=23, drop_last=True)) == [
        (0, 23, [0, 1, 2, 3, 4, 5]),
        (23, 46, [6, 7, 8, 9]),
    ]


def test_time_windows_in_a_part(recording: Recording) -> None:
    got = spans(recording.windows("time", duration_us=5, start_us=1, stop_us=7))
    assert got == [(1, 6, [1, 2, 3, 4]), (6, 11, [5])]


def test_count_windows_keep_equal_times_together(recording: Recording) -> None:
    got = spans(recording.windows("count", num_events=3))
    assert got == [(0, 6, [0, 1, 2, 3, 4]), (6, 32, [5, 6, 7, 8]), (32, 46, [9])]
    assert spans(recording.windows("count", num_events=3, drop_last=True)) == got[:-1]


def test_mixed_windows_end_at_whichever_comes_first(recording: Recording) -> None:
    got = spans(recording.windows("mixed", num_events=3, duration_us=20))
    assert got == [(0, 6, [0, 1, 2, 3, 4]), (6, 26, [5]), (26, 32, [6, 7, 8]), (32, 52, [9])]


@pytest.mark.parametrize("mode", ["time", "count", "mixed"])
def test_windows_are_half_open_and_lose_nothing(recording: Recording, mode: str) -> None:
    total = []
    end = 0
    for t0, t1, events in recording.windows(mode, duration_us=7, num_events=2):  # type: ignore[arg-type]
        assert t0 == end and t1 > t0
        assert not len(events) or (t0 <= events.t[0] and events.t[-1] < t1)
        total += events.x.tolist()
        end = t1
    assert total == list(range(10))


def test_window_arguments(recording: Recording) -> None:
    with pytest.raises(UnitError, match="duration_us"):
        recording.windows("time")
    with pytest.raises(UnitError, match="whole number"):
        recording.windows("time", duration_us=0.05)  # type: ignore[arg-type]
    with pytest.raises(UnitError, match="num_events"):
        recording.windows("mixed", duration_us=5)
    with pytest.raises(UnitError, match="mode"):
        recording.windows("events", num_events=5)  # type: ignore[arg-type]


def test_empty_recording(tmp_path: Path) -> None:
    for made in (
        Recording.from_events(Events.empty((4, 5))),
        open_recording(convert(Recording.from_events(Events.empty((4, 5))), tmp_path / "a.h5")),
    ):
        assert made.num_events == made.duration_us == made.end_us == 0
        assert list(made.windows("time", duration_us=10)) == list(made.windows("count", num_events=1)) == []
        info = made.info()
        assert (info.num_events, info.t_first_us, info.y_max, info.mean_rate_hz) == (0, None, None, 0.0)


def test_info_has_the_agreed_keys(recording: Recording) -> None:
    info = recording.info().as_dict()
    agreed = {
        "sensor_size": (4, 16), "num_events": 10, "t_first_us": 7000, "t_last_us": 7045, "num_on": 5,
        "num_off": 5,
        "x_min": 0, "x_max": 9, "y_min": 0, "y_max": 3,
    }  # fmt: skip
    assert {key: info[key] for key in agreed} == agreed
    assert info["mean_rate_hz"] == pytest.approx(10 / 45e-6)
    assert info["format"] in ("memory", "eventhpe HDF5")


def test_pickled_recording_reads_the_same(recording: Recording) -> None:
    recording.read()
    with pickle.loads(pickle.dumps(recording)) as again:
        assert again.read().t.tolist() == TIMES and again.t_offset_us == 7000


def test_times_over_centuries_are_refused() -> None:
    events = Events.from_columns([0, 1 << 62], [0, 0], [0, 0], [0, 0], (1, 1))
    with pytest.raises(FormatError, match="century"):
        Recording.from_events(events)
