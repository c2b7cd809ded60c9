"""DHP19's markers: reading, rows of times, means, and what gives faulty ones away."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.io

from eventhpe.data.dhp19_export import VICON_FIELDS
from eventhpe.data.dhp19_labels import (
    ArmLengths,
    arm_lengths,
    exchanged,
    label_at,
    label_faults,
    label_row,
    mean_label,
    read_vicon,
)
from eventhpe.errors import FormatError, MissingAssetError
from tests.data.dhp19_fixture import f1_vicon

INDEX = {name: j for j, name in enumerate(VICON_FIELDS)}


def person(n: int = 200) -> np.ndarray:
    """(n, 13, 3) mm: somebody who looks towards -Y (its left is +X) and swings both arms, straight ones."""
    rest = {
        "head": (0, 0, 1750), "shoulderR": (-180, 0, 1450), "shoulderL": (180, 0, 1450),
        "hipR": (-120, 0, 1000), "hipL": (120, 0, 1000), "kneeR": (-120, 0, 520), "kneeL": (120, 0, 520),
        "footR": (-120, 0, 90), "footL": (120, 0, 90),
    }  # fmt: skip
    xyz = np.full((n, 13, 3), np.nan)
    for name, place in rest.items():
        xyz[:, INDEX[name]] = place
    swing = 0.5 * np.sin(np.arange(n) / 20)
    for side in "RL":
        shoulder = xyz[:, INDEX[f"shoulder{side}"]]
        down = np.stack([0 * swing, -np.sin(swing), -np.cos(swing)], axis=-1)
        xyz[:, INDEX[f"elbow{side}"]] = shoulder + 300 * down
        xyz[:, INDEX[f"hand{side}"]] = shoulder + 580 * down
    return xyz


ARMS = ArmLengths(300.0, 280.0)


def swapped(xyz: np.ndarray, a: str, b: str, rows: slice = slice(None)) -> np.ndarray:
    out = xyz.copy()
    out[rows, INDEX[a]], out[rows, INDEX[b]] = xyz[rows, INDEX[b]], xyz[rows, INDEX[a]]
    return out


def test_markers_are_read_by_name(tmp_path):
    fields = f1_vicon(40)
    scipy.io.savemat(tmp_path / "a.mat", {"XYZPOS": dict(reversed(fields.items()))})
    xyz = read_vicon(tmp_path / "a.mat")
    assert xyz.shape == (40, 13, 3)
    for j, name in enumerate(VICON_FIELDS):
        assert np.array_equal(xyz[:, j], fields[name], equal_nan=True)


def test_missing_heads_do_not_shorten_a_recording(tmp_path):
    fields = f1_vicon(40)
    fields["head"][:] = np.nan
    scipy.io.savemat(tmp_path / "a.mat", {"XYZPOS": fields})
    assert len(read_vicon(tmp_path / "a.mat")) == 40


def test_what_is_no_marker_file(tmp_path):
    with pytest.raises(MissingAssetError, match="Vicon_data"):
        read_vicon(tmp_path / "a.mat")
    fields = f1_vicon(40)
    cases = {
        "other": {"POS": fields},
        "fewer": {"XYZPOS": {k: v for k, v in fields.items() if k != "kneeL"}},
        "shapes": {"XYZPOS": {**fields, "kneeL": fields["kneeL"][:30]}},
        "flat": {"XYZPOS": {**fields, "kneeL": fields["kneeL"][:, :2]}},
        "none": {"XYZPOS": {k: v[:0] for k, v in fields.items()}},
        "text": {"XYZPOS": {**fields, "head": "abc"}},
    }
    for name, content in cases.items():
        scipy.io.savemat(tmp_path / f"{name}.mat", content)
        with pytest.raises(FormatError, match=f"{name}\\.mat: expected a MATLAB 5 or 7 file"):
            read_vicon(tmp_path / f"{name}.mat")
    scipy.io.savemat(tmp_path / "whole.mat", {"XYZPOS": fields})
    content = (tmp_path / "whole.mat").read_bytes()
    for size in (0, 100, 128, 400, len(content) // 2):
        (tmp_path / "cut.mat").write_bytes(content[:size])
        with pytest.raises(FormatError, match=r"cut\.mat"):
            read_vicon(tmp_path / "cut.mat")


def test_rows_are_those_of_matlabs_arithmetic():
    """floor(round_half_away(dt * 0.0001)) + 1 in double precision, as MATLAB computes uint32 * double."""
    rng = np.random.default_rng(0)
    halves = 10_000 * rng.integers(0, 400_000, 2000) + 5000
    for dt in np.concatenate(
        [rng.integers(0, 1 << 32, 2000), halves, halves - 1, halves + 1, np.arange(0, 90_000, 5000)]
    ):
        product = int(dt) * 0.0001
        whole = math.floor(product)
        assert label_row(int(dt)) == whole + (product - whole >= 0.5) + 1
        assert label_row(int(dt), "floor") == whole + 1
    assert label_row(-5) == label_row(-5, "floor") == 1  # unsigned: saturates
    assert (label_row(2_006_826), label_row(2_006_826, "floor")) == (202, 201)


def test_means_leave_missing_values_out():
    xyz = np.full((4, 13, 3), 7.0)
    xyz[:, 0] = [[1, 10, np.nan], [2, np.nan, np.nan], [6, 30, np.nan], [100, 100, 100]]
    label = mean_label(xyz, 1, 3)
    assert label[0, :2].tolist() == [3, 20] and np.isnan(label[0, 2]) and (label[1:] == 7).all()
    assert mean_label(xyz, 4, 4)[0].tolist() == [100, 100, 100]
    assert np.isnan(mean_label(xyz, 4, 3)).all()  # no rows: time went back


def test_positions_between_rows():
    xyz = np.arange(3 * 39, dtype=float).reshape(3, 13, 3)
    xyz[2, 5] = np.nan
    assert np.array_equal(label_at(xyz, 10_000), xyz[1])
    assert np.allclose(label_at(xyz, 2500), 0.75 * xyz[0] + 0.25 * xyz[1])
    between = label_at(xyz, 15_000)
    assert np.isnan(between[5]).all() and not np.isnan(np.delete(between, 5, axis=0)).any()
    assert np.isnan(label_at(xyz, 20_000)[5]).all()  # the last row itself


def test_a_sound_person_has_no_faults():
    assert label_faults(person(), ARMS) == ()
    assert ArmLengths.of([person()]) == ArmLengths(pytest.approx(300), pytest.approx(280))


def test_missing_markers_are_told():
    xyz = person()
    xyz[:, INDEX["hipL"]] = np.nan
    xyz[:3, INDEX["handR"], 1] = np.nan
    assert label_faults(xyz, ARMS) == ("hipL is missing throughout", "handR is missing in 1.5 % of the rows")


def test_exchanged_hips_are_found_and_put_right_where_they_are():
    xyz = person()
    wrong = swapped(xyz, "hipL", "hipR", slice(50, 150))
    (fault,) = label_faults(wrong, ARMS)
    assert fault == "left and right look exchanged at hips or shoulders in 50 % of the rows"
    assert np.array_equal(exchanged(wrong, ("hipR", "hipL")), xyz)
    assert np.array_equal(exchanged(xyz, ("hipR", "hipL")), xyz)  # nothing to put right


def test_exchanged_elbow_and_hand_are_found_and_put_right():
    xyz = person()
    wrong = swapped(xyz, "elbowR", "handR")
    (fault,) = label_faults(wrong, ARMS)
    assert fault.startswith("shoulderR to elbowR is 580 mm") and fault.endswith(
        "elbowR and handR look exchanged"
    )
    assert np.array_equal(exchanged(wrong, ("elbowR", "handR")), xyz)
    assert label_faults(wrong) == ()  # arms need the subject's other recordings


def test_arms_come_from_all_recordings_of_a_subject(tmp_path):
    for k, xyz in enumerate([person(), swapped(person(), "elbowR", "handR"), person(), person()]):
        fields = {name: xyz[:, j] for j, name in enumerate(VICON_FIELDS)}
        scipy.io.savemat(tmp_path / f"{k}.mat", {"XYZPOS": fields})
    (tmp_path / "4.mat").write_bytes(b"damaged")
    paths = [tmp_path / f"{k}.mat" for k in range(6)]
    found = arm_lengths({3: paths, 4: paths[4:]})
    assert list(found) == [3]
    assert found[3].upper_mm == pytest.approx(300) and found[3].fore_mm == pytest.approx(280)
