"""Camera calibration files, and what is assumed without one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eventhpe.data.calibration import (
    ASSUMED_FIELD_OF_VIEW_DEG,
    assumed_camera,
    read_calibration,
    write_calibration,
)
from eventhpe.errors import CalibrationError, FormatError
from eventhpe.geometry.camera import Camera

SIZE = (260, 346)
K = [[231.5, 0, 170.25], [0, 232.25, 131.5], [0, 0, 1]]


def test_round_trip(tmp_path):
    camera = Camera(K=K, size=SIZE, dist=[-0.35, 0.12, 0.001, -0.002, 0.03])
    write_calibration(tmp_path / "c.yaml", camera)
    back = read_calibration(tmp_path / "c.yaml", SIZE)
    assert np.array_equal(back.K, camera.K) and np.array_equal(back.dist, camera.dist)
    assert back.size == SIZE


def test_round_trip_with_skew(tmp_path):
    skewed = np.array(K)
    skewed[0, 1] = 1.5
    write_calibration(tmp_path / "c.yaml", Camera(K=skewed, size=SIZE))
    assert np.array_equal(read_calibration(tmp_path / "c.yaml", SIZE).K, skewed)


def test_json_matrix_and_short_distortion(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"K": K, "dist": [-0.3, 0.1], "size": list(SIZE)}))
    camera = read_calibration(str(path), SIZE)
    assert np.array_equal(camera.K, K) and camera.dist.tolist() == [-0.3, 0.1, 0, 0, 0]


def test_without_distortion_and_size(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("fx: 100\nfy: 101\ncx: 63.5\ncy: 60\n")
    camera = read_calibration(path, (128, 128))
    assert camera.K.tolist() == [[100, 0, 63.5], [0, 101, 60], [0, 0, 1]]
    assert not camera.dist.any() and camera.size == (128, 128)


def test_another_image_size_is_refused(tmp_path):
    write_calibration(tmp_path / "c.yaml", Camera(K=K, size=SIZE))
    with pytest.raises(CalibrationError, match=r"\(260, 346\).*\(128, 128\)"):
        read_calibration(tmp_path / "c.yaml", (128, 128))


@pytest.mark.parametrize("key", ["fx", "fy", "cx", "cy"])
def test_a_missing_key_is_named(tmp_path, key):
    values = {"fx": 100, "fy": 100, "cx": 60, "cy": 60}
    del values[key]
    (tmp_path / "c.yaml").write_text(json.dumps(values))
    with pytest.raises(CalibrationError, match=f"missing '{key}'"):
        read_calibration(tmp_path / "c.yaml", (128, 128))


@pytest.mark.parametrize(
    "text",
    [
        "fx: wide\nfy: 1\ncx: 1\ncy: 1\n",
        "fx: [1, 2]\nfy: 1\ncx: 1\ncy: 1\n",
        "fx: -100\nfy: 100\ncx: 1\ncy: 1\n",
        "fx: .nan\nfy: 100\ncx: 1\ncy: 1\n",
        "K: [[1, 0], [0, 1]]\n",
        "K: [[1, 0, 0], [0, 1], [0, 0, 1]]\n",
        "fx: 1\nfy: 1\ncx: 1\ncy: 1\ndist: [1, 2, 3, 4, 5, 6]\n",
        "fx: 1\nfy: 1\ncx: 1\ncy: 1\ndist: none\n",
        "fx: 1\nfy: 1\ncx: 1\ncy: 1\nsize: 128\n",
    ],
)
def test_impossible_numbers_are_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(CalibrationError):
        read_calibration(tmp_path / "c.yaml", (128, 128))


@pytest.mark.parametrize(
    "content",
    [b"", b"- 1\n- 2\n", b"just words", b"a: [1\n", bytes(range(256)), b"\x89HDF\r\n\x1a\n\x00\x01", None],
)
def test_foreign_and_missing_files_are_refused(tmp_path, content):
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError, match=r"c\.yaml"):
        read_calibration(path, (128, 128))


def test_python_objects_in_yaml_are_never_built(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(f"!!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(FormatError):
        read_calibration(path, (128, 128))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("size", [(128, 128), (260, 346), (346, 260)])
def test_the_assumed_camera_has_the_stated_field_of_view(size):
    camera = assumed_camera(size)
    h, w = size
    fov = 2 * np.rad2deg(np.arctan(0.5 * max(size) / camera.K[0, 0]))
    assert fov == pytest.approx(ASSUMED_FIELD_OF_VIEW_DEG)
    assert camera.K[0, 0] == camera.K[1, 1] and not camera.dist.any() and camera.size == size
    assert camera.K[:2, 2].tolist() == [(w - 1) / 2, (h - 1) / 2]
