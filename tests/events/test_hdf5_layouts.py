"""HDF5 files are recognised by what they hold; damaged ones give one error or a result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.formats.hdf5 import Hdf5Backend, checked_dataset
from eventhpe.events.formats.hdf5_damage import check_heaps, checked_rows
from eventhpe.events.formats.hdf5_layouts import attribute_size, layout_of
from tests.events.hdf5_samples import write_samples


@pytest.mark.parametrize("layout", ["eventhpe", "dsec", "ecf", "mvsec", "v2e", "hdf5"])
def test_samples(layout: str, tmp_path: Path) -> None:
    write_samples(tmp_path)
    assert layout_of(tmp_path / f"{layout}.h5") == layout


def test_real_files(shared: Path) -> None:
    names = {
        "containers/board_346_mvsec.h5": "mvsec",
        "containers/person_vga_dsec.h5": "dsec",
        "containers/person_vga_ecf.h5": "ecf",
        "davis346-evl/event.hdf5": "hdf5",
    }
    assert {name: layout_of(shared / "events" / name) for name in names} == names


def test_foreign_content_is_listed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["weights/layer"] = np.zeros((3, 2), np.float32)
        file["events/t"] = np.zeros(3)
    with pytest.raises(FormatError, match=r"DSEC.*weights/layer \(3, 2\) float32"):
        layout_of(tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes(b"\x89HDF\r\n\x1a\nnothing more")
    with pytest.raises(FormatError, match=r"b\.h5: the HDF5 file cannot be read"):
        layout_of(tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w"):
        pass
    with pytest.raises(FormatError, match="nothing"):
        layout_of(tmp_path / "c.h5")


def test_links_that_lead_in_circles_or_away_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("a")
        for k in range(20):
            group[f"loop{k}"] = file["/"] if k % 2 else group
        file["away"] = h5py.ExternalLink("other.h5", "/events")
        file["gone"] = h5py.SoftLink("/nowhere")
    with pytest.raises(FormatError, match="without events"):
        layout_of(tmp_path / "a.h5")


def test_sizes_that_the_file_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("sparse", shape=(1 << 40,), chunks=(1 << 16,), dtype="i8")
        huge = file.create_dataset("huge_chunk", (1 << 26,), "i8", chunks=(1 << 26,), compression="gzip")
        huge.id.write_direct_chunk((0,), b"tiny")
        file.create_dataset("never_written", shape=(1 << 40,), dtype="i8")
        layout = h5py.VirtualLayout((10,), "i8")
        layout[:] = h5py.VirtualSource("other.h5", "t", (10,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("external", (10,), "i8", external=[("other.bin", 0, 80)])
    with h5py.File(path) as file:
        for name in ("sparse", "huge_chunk", "never_written", "virtual", "external"):
            with pytest.raises(FormatError, match=r"not in the file|other files"):
                checked_dataset(file, name, path)


def test_sensor_size_attributes(tmp_path: Path) -> None:
    for attributes, size in [
        ({"height": 260, "width": 346}, (260, 346)),
        ({"sensor_height": np.array([480]), "sensor_width": np.array([640])}, (480, 640)),
        ({"sensor_resolution": [180, 240]}, (180, 240)),
        ({"sensor_resolution": (240, 180)}, (180, 240)),
        ({"height": "260", "width": "346"}, None),
        ({"height": -1, "width": np.nan}, None),
        ({"sensor_resolution": [1, 2, 3]}, None),
        ({"height": 0, "width": 70_000, "resolution": [5, 6]}, (5, 6)),
    ]:
        for holder in ("/", "a", "a/events"):
            with h5py.File(tmp_path / "a.h5", "w") as file:
                file["a/events"] = [1]
                file[holder].attrs.update(attributes)
                assert attribute_size(file, ["a/events"]) == size, (attributes, holder)


@pytest.mark.parametrize("layout", ["eventhpe", "dsec", "ecf", "mvsec", "v2e", "hdf5"])
def test_mutations_give_a_result_or_one_error(layout: str, tmp_path: Path) -> None:
    """In a child process with little memory: a crash of the HDF5 library would not be an exception."""
    write_samples(tmp_path)
    command = [sys.executable, "-m", "tests.events.hdf5_fuzz", str(tmp_path / f"{layout}.h5"), "150", "0"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "150 tried" in done.stdout


def test_lengths_inside_bitshuffled_chunks_are_checked(tmp_path: Path) -> None:
    """The filter itself would read past its buffer."""
    path = tmp_path / "a.h5"
    values = np.arange(5000)
    with h5py.File(path, "w") as file:
        options = dict(hdf5plugin.Bitshuffle(cname="lz4"))
        file.create_dataset("t", data=values, chunks=(4096,), **options)
        place = file["t"].id.get_chunk_info(1).byte_offset
    good = path.read_bytes()
    with h5py.File(path) as file:
        np.testing.assert_array_equal(checked_rows(file["t"], 4000, 5000, path), values[4000:])
    for at, value in ((0, 9), (7, 9), (8, 0x7F), (11, 0x01), (12, 0x7F), (14, 0xFF)):
        data = bytearray(good)
        data[place + at] = value
        path.write_bytes(data)
        with h5py.File(path) as file:
            np.testing.assert_array_equal(checked_rows(file["t"], 0, 4096, path), values[:4096])
            with pytest.raises(FormatError, match="chunks of /t are damaged"):
                checked_rows(file["t"], 4000, 5000, path)


def test_heaps_of_strings_are_checked(tmp_path: Path) -> None:
    """The HDF5 library would walk a damaged one for ever."""
    path = tmp_path / "ecf.h5"
    write_samples(tmp_path)
    check_heaps(path)
    good = path.read_bytes()
    place = good.index(b"GCOL")
    for at, value in ((9, 0x30), (15, 0xFF), (24, 0xFF), (31, 0xFF)):
        data = bytearray(good)
        data[place + at] = value
        path.write_bytes(data)
        with pytest.raises(FormatError, match="strings in the HDF5 file are damaged"):
            check_heaps(path)


def test_triggers_and_imu_beside_the_columns(tmp_path: Path) -> None:
    write_samples(tmp_path)
    path = tmp_path / "dsec.h5"

    def backend() -> Hdf5Backend:
        return Hdf5Backend(path, "DSEC HDF5", (260, 346), zero_us=5, offset_us=0)

    first = backend()
    assert first.triggers() is None and first.imu() is None
    first.close()
    with h5py.File(path, "r+") as file:
        file["triggers/t"], file["triggers/value"] = [15, 25], np.array([1, 0], np.uint8)
        file["imu/t"] = [105, 205]
        file["imu/accel"], file["imu/gyro"] = np.full((2, 3), 1.0), np.full((2, 3), 2.0, np.float32)
        file["imu/temperature"] = [20.0, np.nan]
    second = backend()
    triggers, imu = second.triggers(), second.imu()
    assert triggers is not None and imu is not None
    assert (triggers.t_us.tolist(), triggers.channel.tolist()) == ([10, 20], [0, 0])
    assert imu.t_us.tolist() == [100, 200] and imu.accel.dtype == np.float32 and (imu.gyro == 2).all()
    second.close()
    with h5py.File(path, "r+") as file:
        file["triggers/channel"] = np.array([6, 1], np.uint8)
        del file["imu/gyro"]
        file["imu/gyro"] = np.zeros((2, 2))
    third = backend()
    triggers = third.triggers()
    assert triggers is not None and triggers.channel.tolist() == [6, 1]
    with pytest.raises(FormatError, match="imu/"):
        third.imu()
    third.close()
    with h5py.File(path, "r+") as file:
        del file["triggers/channel"]
        file["triggers/channel"] = np.zeros(3, np.uint8)
    with pytest.raises(FormatError, match="one length"):
        backend().triggers()
