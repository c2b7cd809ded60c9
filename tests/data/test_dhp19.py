"""Finding DHP19's files, and saying what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eventhpe.data.dhp19 import find_movements, require_complete, require_labelled
from eventhpe.errors import MissingAssetError

DOOR = Path(__file__).resolve().parents[2] / "tools" / "train_dhp19.py"


@pytest.fixture
def root(tmp_path) -> Path:
    for name in (
        "S2/session1/mov8",
        "S10/session2/mov6",
        "S2/session1/mov1",
        "S2/session2/mov7",
        "S18/session1/mov1",
    ):
        path = tmp_path / "DVS_movies" / f"{name}.aedat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def add_labels(root: Path) -> None:
    for name in ("Vicon_data/S2_1_8.mat", *(f"P_matrices/P{k}.npy" for k in (1, 2, 3, 4))):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()


def test_recordings_are_sorted_by_number_and_impossible_ones_left_out(root):
    found = [(m.subject, m.session, m.movement) for m in find_movements(root)]
    assert found == [
        (2, 1, 1),
        (2, 1, 8),
        (10, 2, 6),
    ]  # session 2 has 6 movements, and there is no subject 18


def test_each_missing_part_is_named(root, tmp_path_factory):
    with pytest.raises(MissingAssetError, match="DVS_movies"):
        find_movements(tmp_path_factory.mktemp("empty"))
    with pytest.raises(MissingAssetError, match=r"3 recordings.*S2_1_1\.mat"):
        require_labelled(root)
    add_labels(root)
    assert [m.labels.name for m in require_labelled(root)] == ["S2_1_8.mat"]
    (root / "P_matrices" / "P3.npy").unlink()
    with pytest.raises(MissingAssetError, match=r"lacks P3\.npy"):
        require_labelled(root)


def test_a_complete_folder_passes(root):
    add_labels(root)
    require_complete(root)


def test_the_door_exits_with_2_and_one_line(tmp_path):
    environment = os.environ | {
        "PYTHONPATH": str(DOOR.parents[1])
    }  # the door also works from an uninstalled checkout
    done = subprocess.run(
        [sys.executable, str(DOOR), str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("eventhpe: MissingAssetError: ") and done.stderr.count("\n") == 1
