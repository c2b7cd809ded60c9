"""Keypoint files: nothing is lost on the way, and COCO's layout is COCO's."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from eventhpe.data.pose_files import read_poses, write_poses
from eventhpe.data.poses import PersonPoses, Poses
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import DHP19_15_SKELETON

J = 15


def person(number: int, windows: list[int], *, deep: bool = True) -> PersonPoses:
    rng = np.random.default_rng(number)
    N = len(windows)
    return PersonPoses(
        number, np.array(windows, np.int64), rng.uniform(0, 200, (N, J, 2)), rng.uniform(0, 1, (N, J)),
        np.tile([1.0, 2.0, 31.0, 62.0], (N, 1)), rng.normal(0, 1, (N, J, 3)) if deep else None,
    )  # fmt: skip


def poses(*people: PersonPoses) -> Poses:
    camera = Camera(K=np.array([[200.0, 0, 60], [0, 210, 50], [0, 0, 1]]), size=(100, 120))
    t_us = np.arange(1, 5, dtype=np.int64) * 50_000
    return Poses(DHP19_15_SKELETON, t_us, (100, 120), people, camera, {"recording": "a.aedat"})


def test_npz_comes_back_as_it_went(tmp_path: Path) -> None:
    given = poses(person(0, [0, 1, 3]), person(7, [2]))
    back = read_poses(write_poses(tmp_path / "p.npz", given))
    assert back.skeleton == given.skeleton and back.sensor_size == (100, 120)
    assert back.provenance == {"recording": "a.aedat"}
    np.testing.assert_array_equal(back.t_us, given.t_us)
    assert back.camera is not None and given.camera is not None
    np.testing.assert_array_equal(back.camera.K, given.camera.K)
    assert [p.person for p in back.people] == [0, 7]
    for a, b in zip(back.people, given.people, strict=True):
        for name in ("window", "uv", "confidence", "box", "xyz"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_nobody_found_is_a_file_too(tmp_path: Path) -> None:
    for ending in (".npz", ".csv", ".json"):
        write_poses(tmp_path / f"p{ending}", poses())
    assert read_poses(tmp_path / "p.npz").people == ()
    assert json.loads((tmp_path / "p.json").read_text())["annotations"] == []


def test_csv_has_a_line_per_joint(tmp_path: Path) -> None:
    given = poses(person(0, [0, 1], deep=False), person(1, [3]))
    with write_poses(tmp_path / "p.csv", given).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * J
    assert rows[J + 2]["joint"] == DHP19_15_SKELETON.joints[2] and rows[J + 2]["t_us"] == "100000"
    assert float(rows[J + 2]["v_px"]) == pytest.approx(given.people[0].uv[1, 2, 1], abs=0.005)
    assert rows[0]["x_m"] == "" and rows[-1]["z_m"] != ""


def test_coco_layout(tmp_path: Path) -> None:
    given = poses(person(4, [1, 2]))
    document = json.loads(write_poses(tmp_path / "p.json", given).read_text())
    assert [i["id"] for i in document["images"]] == [0, 1, 2, 3]
    category = document["categories"][0]
    assert category["keypoints"] == list(DHP19_15_SKELETON.joints)
    assert all(1 <= a <= J and 1 <= b <= J for a, b in category["skeleton"])
    first, second = document["annotations"]
    assert (first["image_id"], second["image_id"], first["track_id"]) == (1, 2, 4)
    assert len(first["keypoints"]) == 3 * J and first["bbox"] == [1.0, 2.0, 30.0, 60.0]
    assert first["keypoints"][0] == pytest.approx(given.people[0].uv[0, 0, 0], abs=0.005)
    trust = given.people[0].confidence[0]
    assert first["keypoints"][2::3] == [2 if c >= 0.3 else 1 for c in trust]


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="written as"):
        write_poses(tmp_path / "p.txt", poses())
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(FormatError, match="eventhpe-poses"):
        read_poses(tmp_path / "other.npz")
    with pytest.raises(FormatError, match="no such file"):
        read_poses(tmp_path / "absent.npz")
    with pytest.raises(ShapeError, match="must increase"):
        poses(person(0, [1, 1]))
    with pytest.raises(ShapeError, match="must increase"):
        poses(person(0, [4]))
