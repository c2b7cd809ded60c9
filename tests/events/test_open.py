"""The front door: recognition by content, and what it says to files it cannot read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from eventhpe.errors import FormatError, UnitError
from eventhpe.events.formats.aedat2 import write_aedat2
from eventhpe.events.open import open_recording
from eventhpe.events.types import Events


def test_the_name_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "recording.h5"
    write_aedat2(path, Events.from_columns([0], [0], [0], [0], (260, 346)))
    assert open_recording(str(path)).format == "AEDAT 2.0"
    assert open_recording(path, format="aedat2").num_events == 1
    with pytest.raises(FormatError, match=r"recording\.h5.*not an AEDAT 4"):
        open_recording(path, format="aedat4")
    with pytest.raises(FormatError, match="HDF5 file cannot be read"):
        open_recording(path, format="dsec")
    with pytest.raises(FormatError, match="choose one of aedat1, aedat2"):
        open_recording(path, format="raw")
    with pytest.raises(FormatError, match="0 = events"):
        open_recording(path, stream=1)


def test_missing_empty_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"nothing\.aedat: no such file"):
        open_recording(tmp_path / "nothing.aedat")
    (tmp_path / "empty").touch()
    for format in (None, "aedat2", "aedat4", "dsec", "eventhpe"):
        with pytest.raises(FormatError, match="empty"):
            open_recording(tmp_path / "empty", format=format)
    with pytest.raises(FormatError, match="folder"):
        open_recording(tmp_path)


@pytest.mark.parametrize(
    "content", [b"hello world", b"\x00" * 100, b"#", bytes(range(256)) * 9, b"\x89PNG\r\n\x1a\n" + bytes(50)]
)
def test_foreign_files_list_what_can_be_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.aedat4"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="of unknown format") as caught:
        open_recording(path)
    for label in ("AEDAT 2.0", "AEDAT 4.0", "Prophesee RAW EVT3", "ROS 2 bag", "DSEC", "eventhpe", str(path)):
        assert label in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"#!AER-DAT5.0\r\n", r"AEDAT version b'5\.0' is not known"),
        (b"% nothing\n% end\n", "a"),
        (b"PK\x03\x04....", "ZIP archive is damaged"),
        (b"#ROSBAG V2.0\n", "no topic at all"),
    ],
)
def test_known_beginnings_without_a_recording(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=said) as caught:
        open_recording(path)
    assert str(path) in str(caught.value)


def test_foreign_hdf5_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["weights/layer1"] = np.zeros((3, 4))
    with pytest.raises(FormatError, match="It holds: weights"):
        open_recording(path)


def test_units_only_where_the_format_leaves_them_open(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[5, 1, 2, 1], [7, 1, 2, 0]]))
    with open_recording(tmp_path / "a.npy", time_unit="ms") as recording:
        assert recording.read().t.tolist() == [0, 2000] and recording.t_offset_us == 5000
    write_aedat2(tmp_path / "a.aedat", Events.from_columns([0], [0], [0], [0], (260, 346)))
    with pytest.raises(UnitError, match=r"AEDAT 2\.0 fixes the unit"):
        open_recording(tmp_path / "a.aedat", time_unit="s")
    with pytest.raises(UnitError, match="s, ms, us, ns"):
        open_recording(tmp_path / "a.npy", time_unit="min")  # type: ignore[arg-type]


def test_opening_the_package_loads_no_kernels() -> None:
    code = "import sys, eventhpe, eventhpe.events.formats.sniff; print({'numba', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
