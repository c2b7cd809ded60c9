"""Files of keypoints: Vicon .mat, npz and CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from eventhpe.data.keypoint_file import read_keypoints
from eventhpe.errors import FormatError, UnitError
from eventhpe.geometry.skeleton import DHP19_SKELETON

OFFICIAL = ("head", "shoulderR", "shoulderL", "elbowR", "elbowL", "hipR", "hipL", "handR", "handL", "kneeR",
            "kneeL", "footR", "footL")  # fmt: skip


@pytest.fixture
def xyz_mm() -> NDArray[np.float64]:
    xyz = np.random.default_rng(0).normal(size=(7, 13, 3)) * 500
    xyz[2, 4] = np.nan
    return xyz


def vicon(path: Path, xyz_mm: NDArray[np.float64], order: tuple[str, ...] = OFFICIAL) -> Path:
    fields = {name: xyz_mm[:, OFFICIAL.index(name)] for name in order}
    scipy.io.savemat(path, {"XYZPOS": fields})
    return path


def test_vicon_is_turned_into_metres_with_y_up(tmp_path: Path, xyz_mm: NDArray[np.float64]) -> None:
    keypoints, t_us = read_keypoints(vicon(tmp_path / "S1_1_1.mat", xyz_mm))
    assert keypoints.skeleton.joints == DHP19_SKELETON.joints and keypoints.skeleton.name == "dhp19"
    assert keypoints.frame == "world" and keypoints.xyz is not None
    x, y, z = np.moveaxis(xyz_mm * 1e-3, -1, 0)
    np.testing.assert_allclose(keypoints.xyz, np.stack([x, z, -y], -1), atol=1e-12)  # spec: (x, z, -y)
    np.testing.assert_array_equal(t_us, np.arange(7) * 10_000)
    assert np.isnan(keypoints.xyz[2, 4]).all()


def test_fields_count_by_name_not_order(tmp_path: Path, xyz_mm: NDArray[np.float64]) -> None:
    keypoints, _ = read_keypoints(vicon(tmp_path / "a.mat", xyz_mm, OFFICIAL[::-1]), up="y", unit="m")
    assert keypoints.skeleton.joints == DHP19_SKELETON.joints[::-1] and keypoints.xyz is not None
    np.testing.assert_allclose(keypoints.xyz, xyz_mm[:, ::-1])


def test_npz_with_times_and_confidence(tmp_path: Path, xyz_mm: NDArray[np.float64]) -> None:
    path, t = tmp_path / "a.npz", np.arange(7) * 5000 + 3
    confidence = np.full((7, 2), 0.5)
    np.savez(path, xyz=xyz_mm[:, :2], names=np.array(["pelvis", "neck"]), t_us=t, confidence=confidence)
    keypoints, t_us = read_keypoints(path, unit="mm", rate_hz=50)
    assert keypoints.skeleton.name == "smpl24" and keypoints.xyz is not None
    np.testing.assert_array_equal(t_us, t)  # the file's own times count
    np.testing.assert_array_equal(keypoints.confidence, confidence)
    np.testing.assert_allclose(keypoints.xyz, xyz_mm[:, :2] * 1e-3)


def test_csv_with_gaps(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "t_ms,hipL_x,hipL_y,hipL_z,head.X,head.Y,head.Z,remark\n0,1,2,3,4,5,6,\n20,1,2,3,,,,\n",
        encoding="utf-8",
    )
    keypoints, t_us = read_keypoints(path)
    assert keypoints.skeleton.joints == ("hip_left", "head") and keypoints.xyz is not None
    np.testing.assert_array_equal(t_us, [0, 20_000])
    np.testing.assert_array_equal(keypoints.xyz[0], [[1, 2, 3], [4, 5, 6]])
    assert np.isnan(keypoints.xyz[1, 1]).all()
    assert read_keypoints(path, names="smpl")[0].skeleton.name == "smpl24"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("head_x,head_y\n1,2\n", "incomplete"),
        ("a,b,c\n1,2,3\n", "no such columns"),
        ("head_x,head_y,head_z\n", "at least one line"),
        ("head_x,head_y,head_z\n1,2\n", "line 2 has 2 cells"),
        ("head_x,head_y,head_z\n1,two,3\n", "'two' is no number"),
        ("nose_x,nose_y,nose_z\n1,2,3\n", "unknown keypoints nose"),
        ("hipL_x,hipL_y,hipL_z,hip_left_x,hip_left_y,hip_left_z\n1,2,3,1,2,3\n", "twice"),
        ("t_s,head_x,head_y,head_z\n,1,2,3\n", "no times"),
        ("head_x,head_y,head_z\n1,2,3\n", "--rate"),
    ],
)
def test_csv_that_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        read_keypoints(path)


def test_other_files_are_refused(tmp_path: Path, xyz_mm: NDArray[np.float64]) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_keypoints(tmp_path / "a.npz")
    with pytest.raises(FormatError, match="hold no keypoints"):
        read_keypoints(tmp_path / "a.h5")
    mat = tmp_path / "a.mat"
    scipy.io.savemat(mat, {"other": np.zeros(3)})
    with pytest.raises(FormatError, match="no variable XYZPOS"):
        read_keypoints(mat)
    scipy.io.savemat(mat, {"XYZPOS": {"head": np.zeros((3, 2))}})
    with pytest.raises(FormatError, match=r"head \(3, 2\)"):
        read_keypoints(mat)
    scipy.io.savemat(mat, {"XYZPOS": np.zeros(3)})
    with pytest.raises(FormatError, match=r"a\.mat"):
        read_keypoints(mat)
    mat.write_bytes(vicon(tmp_path / "b.mat", xyz_mm).read_bytes()[:700])
    with pytest.raises(FormatError, match="cannot be read as MATLAB"):
        read_keypoints(mat)
    npz = tmp_path / "a.npz"
    np.savez(npz, xyz=np.zeros((3, 2, 3)))
    with pytest.raises(FormatError, match="no names"):
        read_keypoints(npz)
    np.savez(npz, xyz=np.zeros((3, 2, 3)), names=np.array(["head"]))
    with pytest.raises(FormatError, match="names must be 2"):
        read_keypoints(npz)
    with pytest.raises(UnitError, match="rate"):
        read_keypoints(vicon(tmp_path / "c.mat", xyz_mm), rate_hz=-1)
