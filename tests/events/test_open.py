"""The front door: recognition by content, and what it says to files it cannot read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from eventhpe.errors import FormatError
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
    with pytest.raises(FormatError, match="choose one of aedat2"):
        open_recording(path, format="raw")
    with pytest.raises(FormatError, match="one camera"):
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
    ("content", "said"),
    [
        (b"hello world", "unknown"),
        (b"\x00" * 100, "unknown"),
        (b"#", "unknown"),
        (b"#!AER-DAT3.1\r\n", "AEDAT 3"),
        (b"% evt 3.0\n", "Prophesee"),
        (b"PK\x03\x04....", "ZIP"),
        (b"#ROSBAG V2.0\n", "ROS 1"),
    ],
)
def test_foreign_files_list_what_can_be_read(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.aedat4"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=said) as caught:
        open_recording(path)
    for label in ("AEDAT 2.0", "AEDAT 4.0", "DSEC", "eventhpe", str(path)):
        assert label in str(caught.value)


def test_foreign_hdf5_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["davis/left/events"] = np.zeros((3, 4))
    with pytest.raises(FormatError, match=r"it holds davis"):
        open_recording(path)


def test_opening_the_package_loads_no_kernels() -> None:
    code = "import sys, eventhpe, eventhpe.events.formats.sniff; print({'numba', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
