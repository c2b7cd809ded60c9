"""DSEC files written here come back bit for bit, here and through plain h5py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers Blosc)
import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.formats.dsec import open_dsec
from eventhpe.events.formats.dsec_writer import write_dsec
from eventhpe.events.formats.hdf5_layouts import layout_of
from eventhpe.events.types import Events

SIZE = (480, 640)


def _events(n: int, seed: int = 0, first: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    t = first + np.cumsum(rng.integers(0, 30, n)).astype(np.int64)
    x, y = rng.integers(0, 640, n).astype(np.uint16), rng.integers(0, 480, n).astype(np.uint16)
    return Events(t, x, y, rng.integers(0, 2, n).astype(np.uint8), SIZE)


def _cut(events: Events, step: int) -> Iterator[Events]:
    return (events.slice(i, min(i + step, len(events))) for i in range(0, len(events), step))


@pytest.mark.parametrize(("n", "step"), [(100_000, 7_001), (65_536, 65_536), (10, 1), (1, 1)])
def test_round_trip(n: int, step: int, tmp_path: Path) -> None:
    events, path = _events(n, first=5), tmp_path / "a.h5"
    assert write_dsec(path, _cut(events, step), sensor_size=SIZE, t_offset_us=1_744_000_000_000_123) == n
    assert layout_of(path) == "dsec"
    backend = open_dsec(path)
    assert backend.sensor_size == SIZE
    assert backend.warnings == ()
    raw = backend.read_raw()
    np.testing.assert_array_equal(raw.t, events.t + 1_744_000_000_000_123)
    for name in "xyp":
        np.testing.assert_array_equal(getattr(raw, name), getattr(events, name))
    backend.close()
    assert [f.name for f in tmp_path.iterdir()] == ["a.h5"]


def test_layout_for_plain_h5py(tmp_path: Path) -> None:
    events, path = _events(90_000), tmp_path / "a.h5"
    write_dsec(path, _cut(events, 40_000), sensor_size=SIZE, t_offset_us=7)
    with h5py.File(path) as file:
        assert [file[f"events/{name}"].dtype.str for name in "txyp"] == ["<u4", "<u2", "<u2", "|u1"]
        assert all(list(file[f"events/{name}"]._filters) == ["32001"] for name in "txyp")
        assert file["t_offset"][()] == 7 and file["t_offset"].dtype == np.dtype("<i8")
        assert (file.attrs["height"], file.attrs["width"]) == SIZE
        t, index = file["events/t"][:].astype(np.int64), file["ms_to_idx"][:]
    assert index.dtype == np.dtype("<u8")
    starts = 1000 * np.arange(len(index))
    np.testing.assert_array_equal(index, np.searchsorted(t, starts, side="left"))
    assert index[-1] == len(t) and starts[-1] > t[-1] >= starts[-2]


def test_no_events(tmp_path: Path) -> None:
    assert write_dsec(tmp_path / "a.h5", [], sensor_size=SIZE) == 0
    assert open_dsec(tmp_path / "a.h5").num_events == 0


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([_events(5, first=2**32 - 3)], "71 minutes"),
        ([_events(5, first=-100)], "not decrease"),
        ([_events(50, first=1000), _events(50)], "not decrease"),
        (
            [
                _events(50).slice(0, 50),
                Events(
                    *(
                        np.array([v], d)
                        for v, d in zip(
                            (10**6, 640, 0, 1), (np.int64, np.uint16, np.uint16, np.uint8), strict=True
                        )
                    ),
                    SIZE,
                ),
            ],
            "outside",
        ),
    ],
)
def test_what_does_not_fit(blocks: list[Events], message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=message):
        write_dsec(tmp_path / "a.h5", blocks, sensor_size=SIZE)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"mine")
    with pytest.raises(FormatError, match="exists"):
        write_dsec(path, [_events(5)], sensor_size=SIZE)
    assert path.read_bytes() == b"mine"
    write_dsec(path, [_events(5)], sensor_size=SIZE, overwrite=True)
    assert open_dsec(path).num_events == 5


def test_a_failing_source_leaves_nothing(tmp_path: Path) -> None:
    def source() -> Iterator[Events]:
        yield _events(40_000)
        raise RuntimeError("camera gone")

    with pytest.raises(RuntimeError, match="camera gone"):
        write_dsec(tmp_path / "a.h5", source(), sensor_size=SIZE)
    assert list(tmp_path.iterdir()) == []
