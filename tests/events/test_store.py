"""The canonical HDF5 file: writing, lazy reading, several processes, damage."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from eventhpe.errors import FormatError, ShapeError, UnitError
from eventhpe.events.conversion import convert
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events, Triggers

SIZE = (20, 30)


def random_events(n: int, seed: int = 0, step: int = 40) -> Events:
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.integers(0, step, n))
    return Events.from_columns(t, rng.integers(0, 30, n), rng.integers(0, 20, n), rng.integers(0, 2, n), SIZE)


def assert_same(a: Events, b: Events) -> None:
    assert a.sensor_size == b.sensor_size
    for column in "txyp":
        assert np.array_equal(getattr(a, column), getattr(b, column)), column


@pytest.mark.parametrize("compression", ["bitshuffle-lz4", "gzip", "none"])
def test_round_trip_in_pieces(tmp_path: Path, compression: str) -> None:
    events = random_events(200_000)
    path = tmp_path / "a.h5"
    cuts = [0, 0, 1, 70_000, 70_001, 199_999, 200_000]
    with StoreWriter(
        path, SIZE, t_offset_us=123, compression=compression, provenance={"made": "here"}
    ) as writer:
        for i, j in itertools.pairwise(cuts):
            writer.append(events.slice(i, j))
        writer.file.create_group("labels")["pose"] = np.arange(3)
        assert not path.exists() and writer.num_events == 200_000
    with open_recording(path) as recording:
        assert recording.format == "eventhpe HDF5" and recording.t_offset_us == 123
        assert_same(recording.read(), events)
        assert_same(recording.read(65_530, 65_540), events.slice(65_530, 65_540))
        for t in (0, 1, 999, 1000, 1001, 2_000_500, int(events.t[-1]), int(events.t[-1]) + 1):
            assert recording.index_at(t) == np.searchsorted(events.t, t)
    with h5py.File(path) as file:
        index = file["ms_to_idx"][:]
        assert np.array_equal(index[:-1], np.searchsorted(events.t, np.arange(len(index) - 1) * 1000))
        assert index[-1] == len(events) and (len(index) - 1) * 1000 > events.t[-1]
        assert file["labels/pose"][:].tolist() == [0, 1, 2]
        assert json.loads(file.attrs["provenance"]) == {"made": "here"} and file.attrs["schema_version"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_gzip_needs_no_plugin(tmp_path: Path) -> None:
    path = convert(Recording.from_events(random_events(1000)), tmp_path / "a.h5", compression="gzip").path
    code = "import h5py, sys; print(int(h5py.File(sys.argv[1])['events/t'][:].sum()))"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == int(random_events(1000).t.sum())


def test_frames_triggers_and_silence_survive_conversion(tmp_path: Path) -> None:
    first, second = tmp_path / "a.h5", tmp_path / "b.h5"
    images = np.random.default_rng(0).integers(0, 255, (3, *SIZE), dtype=np.uint8)
    with StoreWriter(first, SIZE, duration_us=90_000) as writer:
        writer.append(random_events(50))
        for k, image in enumerate(images):
            writer.append_frame(1000 * k, image)
        writer.append_triggers(
            Triggers(np.array([5, 9]), np.array([1, 0], np.uint8), np.array([0, 3], np.uint8))
        )
    with open_recording(first) as recording:
        convert(recording, second)
    for path in (first, second):
        with open_recording(path) as recording:
            assert recording.frames is not None and recording.frames.t_us.tolist() == [0, 1000, 2000]
            assert np.array_equal(recording.frames.images, images)
            assert recording.triggers is not None and recording.triggers.value.tolist() == [1, 0]
            assert recording.triggers.channel.tolist() == [0, 3]
            assert recording.end_us == 90_000
            assert len(list(recording.windows("time", duration_us=10_000))) == 9


def test_time_zero_is_kept_though_the_first_event_comes_later(tmp_path: Path) -> None:
    events = Events.from_columns([500, 900], [1, 2], [3, 4], [1, 0], SIZE)
    with StoreWriter(tmp_path / "a.h5", SIZE, t_offset_us=10_000) as writer:
        writer.append(events)
    with open_recording(tmp_path / "a.h5") as recording:
        assert recording.read().t.tolist() == [500, 900] and recording.t_offset_us == 10_000
        info = recording.info()
        assert (info.t_first_us, info.t_last_us) == (10_500, 10_900)


def test_writer_refuses(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with StoreWriter(path, SIZE) as writer:
        writer.append(Events.from_columns([10], [0], [0], [0], SIZE))
        with pytest.raises(FormatError, match="not decrease"):
            writer.append(Events.from_columns([9], [0], [0], [0], SIZE))
        with pytest.raises(FormatError, match="sensor_size"):
            writer.append(Events.from_columns([11], [0], [0], [0], (9, 9)))
        with pytest.raises(UnitError, match="37 hours"):
            writer.append(Events.from_columns([1_700_000_000_000_000], [0], [0], [0], SIZE))
        outside = Events(
            np.array([12]), np.array([30], np.uint16), np.array([0], np.uint16), np.array([0], np.uint8), SIZE
        )
        with pytest.raises(FormatError, match="outside"):
            writer.append(outside)
        with pytest.raises(ShapeError, match="frame"):
            writer.append_frame(0, np.zeros((3, 3), np.uint8))
        writer.append_frame(5, np.zeros(SIZE, np.uint8))
        with pytest.raises(FormatError, match="time order"):
            writer.append_frame(4, np.zeros(SIZE, np.uint8))
    assert open_recording(path).num_events == 1
    with pytest.raises(FormatError, match="compression"):
        StoreWriter(path, SIZE, compression="zip")
    with pytest.raises(FormatError, match="folder"):
        StoreWriter(tmp_path / "no" / "a.h5", SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_failure_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), StoreWriter(path, SIZE) as writer:
        writer.append(random_events(10))
        raise KeyError("stop")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_convert_overwrites_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    convert(Recording.from_events(random_events(10)), path)
    with pytest.raises(FormatError, match="overwrite"):
        convert(Recording.from_events(random_events(20)), path)
    convert(Recording.from_events(random_events(20)), path, overwrite=True)
    with open_recording(path) as recording:
        convert(recording, path, overwrite=True)  # onto itself
        assert recording.num_events == 20
    assert open_recording(path).num_events == 20


def _sum_in_worker(recording: Recording, i: int, j: int) -> int:
    return int(recording.read(i, j).t.sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_processes_read_one_store(tmp_path: Path, method: str) -> None:
    events = random_events(150_000)
    with open_recording(convert(Recording.from_events(events), tmp_path / "a.h5")) as recording:
        recording.read(0, 10)  # the handle is open before the fork
        with multiprocessing.get_context(method).Pool(2 if method == "fork" else 1) as pool:
            parts = [
                pool.apply_async(_sum_in_worker, (recording, i, i + 50_000)) for i in (0, 50_000, 100_000)
            ]
            total = sum(part.get(timeout=60) for part in parts)
        assert total == int(events.t.sum()) == _sum_in_worker(recording, 0, 150_000)


def _inherited_sum(recording: Recording, queue: multiprocessing.Queue) -> None:
    queue.put(int(recording.read().t.sum()))


def test_forked_process_uses_its_own_handle(tmp_path: Path) -> None:
    events = random_events(100_000)
    context = multiprocessing.get_context("fork")
    with open_recording(convert(Recording.from_events(events), tmp_path / "a.h5")) as recording:
        recording.read(0, 10)
        queue = context.Queue()
        workers = [context.Process(target=_inherited_sum, args=(recording, queue)) for _ in range(2)]
        for worker in workers:
            worker.start()
        sums = [queue.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join(60)
        assert sums == [int(events.t.sum())] * 2 and recording.read().t.sum() == sums[0]


def _dsec(path: Path, t: np.ndarray, x: np.ndarray, offset: int | None = 5_000, dtype: str = "u4") -> Path:
    with h5py.File(path, "w") as file:
        file["events/t"] = t.astype(dtype)
        file["events/x"] = x.astype("u2")
        file["events/y"] = np.zeros(len(t), "u2")
        file["events/p"] = np.ones(len(t), "u1")
        if offset is not None:
            file["t_offset"] = np.int64(offset)
        file["ms_to_idx"] = np.searchsorted(t, np.arange(t[-1] // 1000 + 2) * 1000).astype("u8")
    return path


def test_dsec_time_zero_is_the_first_event(tmp_path: Path) -> None:
    t = np.array([2500, 2600, 4000, 9000])
    with open_recording(_dsec(tmp_path / "a.h5", t, np.array([1, 2, 3, 639]))) as recording:
        assert recording.format == "DSEC HDF5" and recording.sensor_size == (480, 640)
        assert recording.read().t.tolist() == [0, 100, 1500, 6500] and recording.t_offset_us == 7500
        assert [recording.index_at(k) for k in (0, 1, 100, 101, 1500, 6500, 6501)] == [0, 1, 1, 2, 2, 3, 4]
        assert any("640x480" in note for note in recording.warnings)


def test_dsec_sensor_size(tmp_path: Path) -> None:
    path = _dsec(tmp_path / "a.h5", np.array([1, 2]), np.array([1, 700]))
    with pytest.raises(FormatError, match="x=700"):
        open_recording(path)
    assert open_recording(path, sensor="1280x720").sensor_size == (720, 1280)
    with pytest.raises(FormatError, match="outside the 346x260"):
        open_recording(path, sensor="DAVIS346").read()
    with h5py.File(path, "a") as file:
        file.attrs["height"], file.attrs["width"] = 720, 1280
    assert open_recording(path).sensor_size == (720, 1280) and open_recording(path).warnings == ()


def test_misleading_index_is_not_trusted(tmp_path: Path) -> None:
    t = np.arange(0, 50_000, 10)
    path = _dsec(tmp_path / "a.h5", t, np.zeros(len(t)))
    with h5py.File(path, "a") as file:
        file["ms_to_idx"][...] = np.random.default_rng(0).integers(0, len(t), file["ms_to_idx"].shape)
    with open_recording(path) as recording:
        for k in range(0, 51_000, 777):
            assert recording.index_at(k) == np.searchsorted(t, k)


def test_unsorted_or_impossible_columns_are_refused(tmp_path: Path) -> None:
    path = _dsec(tmp_path / "a.h5", np.array([5, 4, 6]), np.zeros(3))
    with pytest.raises(FormatError, match="backwards"):
        open_recording(path).read()
    with h5py.File(path, "a") as file:
        del file["events/p"]
        file["events/p"] = np.array([1, -1, 1], "i1")
    with pytest.raises(FormatError, match="Polarity must be 0 or 1"):
        open_recording(path).read()
    with h5py.File(path, "a") as file:
        del file["events/p"]
        file["events/p"] = np.ones(2, "u1")
    with pytest.raises(FormatError, match="one length"):
        open_recording(path)


def test_claimed_size_without_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name, dtype in zip("txyp", ("i8", "u2", "u2", "u1"), strict=True):
            file.create_dataset(f"events/{name}", shape=(10**12,), dtype=dtype, chunks=(65536,))
    with pytest.raises(FormatError, match="not in the file"):
        open_recording(path)


def test_cut_store_is_refused(tmp_path: Path) -> None:
    path = convert(Recording.from_events(random_events(1000)), tmp_path / "a.h5").path
    content = path.read_bytes()
    for size in (9, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(FormatError):
            open_recording(path)


def test_newer_schema_asks_for_an_update(tmp_path: Path) -> None:
    path = convert(Recording.from_events(random_events(10)), tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(FormatError, match="Update"):
        open_recording(path)
