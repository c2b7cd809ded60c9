"""Events: checks, views, round trips."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from eventhpe.errors import FormatError, ShapeError
from eventhpe.events.types import Events, GrayFrames, Triggers, VoxelGrid


def small() -> Events:
    return Events.from_columns([0, 5, 5, 9], [0, 3, 1, 2], [1, 0, 1, 1], [0, 1, 1, 0], (2, 4))


def test_columns_have_the_house_types() -> None:
    events = small()
    assert [getattr(events, c).dtype.str for c in "txyp"] == ["<i8", "<u2", "<u2", "|u1"]
    assert len(events) == 4 and events.duration_us == 9 and events.sensor_size == (2, 4)


def test_arrays_are_read_only_and_the_callers_array_stays_writable() -> None:
    t = np.array([1, 2], np.int64)
    events = Events.from_columns(t, [0, 1], [0, 1], [1, 0], (2, 2))
    with pytest.raises(ValueError, match="read-only"):
        events.t[0] = 7
    t[0] = 0
    assert t.flags.writeable


def test_between_is_half_open() -> None:
    events = small()
    assert events.between(5, 9).t.tolist() == [5, 5]
    assert events.between(0, 5).t.tolist() == [0]
    assert len(events.between(9, 5)) == 0
    assert events.slice(1, 3).x.tolist() == [3, 1]


def test_structured_round_trip() -> None:
    events = small()
    back = Events.from_structured(events.to_structured(), events.sensor_size)
    for column in "txyp":
        assert np.array_equal(getattr(back, column), getattr(events, column))
    with pytest.raises(ShapeError, match="missing"):
        Events.from_structured(np.zeros(2, [("t", "i8"), ("x", "u2")]), (2, 2))


def test_pickle_round_trip() -> None:
    back = pickle.loads(pickle.dumps(small()))
    assert back.t.tolist() == [0, 5, 5, 9] and back.sensor_size == (2, 4)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"t": [3, 2]}, FormatError, "backwards at event 1"),
        ({"x": [0, 4]}, FormatError, "outside the sensor of 4x2"),
        ({"y": [2, 0]}, FormatError, "outside the sensor"),
        ({"x": [-1, 0]}, FormatError, "outside uint16"),
        ({"p": [-1, 1]}, FormatError, "p > 0"),
        ({"p": [0, 2]}, FormatError, "0 or 1"),
        ({"t": [0.1, 0.2]}, ShapeError, "seconds"),
        ({"t": [1, 2, 3]}, ShapeError, "one length"),
        ({"x": [[1], [2]]}, ShapeError, "must be"),
    ],
)
def test_from_columns_refuses(change: dict, error: type[Exception], text: str) -> None:
    columns = {"t": [1, 2], "x": [0, 1], "y": [0, 1], "p": [0, 1]} | change
    with pytest.raises(error, match=text):
        Events.from_columns(**columns, sensor_size=(2, 4))


def test_constructor_checks_types_and_sensor_size() -> None:
    with pytest.raises(ShapeError, match="sensor_size"):
        Events.empty((0, 5))
    z = np.zeros(1)
    with pytest.raises(ShapeError, match=r"Events\.t"):
        Events(z, z, z, z, (2, 2))
    assert len(Events.empty((3, 4))) == 0 and Events.empty((3, 4)).duration_us == 0


def test_frames_load_when_asked() -> None:
    asked = []

    def load(k: int) -> np.ndarray:
        asked.append(k)
        return np.full((2, 3), k, np.uint8)

    frames = GrayFrames(np.array([10, 20], np.int64), load)
    assert len(frames) == 2 and asked == []
    assert frames[-1][0, 0] == 1 and asked == [1]
    assert frames.images.shape == (2, 2, 3)
    with pytest.raises(IndexError):
        frames[2]


def test_small_types_check_shapes() -> None:
    with pytest.raises(ShapeError):
        VoxelGrid(np.zeros((3, 3), np.float32), 0, 1)
    with pytest.raises(ShapeError):
        Triggers(np.zeros(2, np.int64), np.zeros(3, np.uint8), np.zeros(2, np.uint8))
