"""BVH reader: generic channels and orders, damaged files, and real clips against independent kinematics."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eventhpe.body.bvh import read_bvh
from eventhpe.errors import FormatError

TINY = """HIERARCHY
ROOT base
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Xrotation Yrotation Zrotation
  JOINT upper arm
  {
    OFFSET 0 10 0
    CHANNELS 2 Yrotation Xrotation
    End Site
    {
      OFFSET 0 0 5
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.008333
1 2 3 0 0 90 0 0
4 5 6 10 20 30 40 50
"""


def write(tmp_path: Path, text: str, name: str = "clip.bvh") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_hierarchy_channels_and_units(tmp_path: Path) -> None:
    clip = read_bvh(write(tmp_path, TINY))
    assert clip.joints == ("base", "upper arm") and clip.parents == (-1, 0)
    np.testing.assert_allclose(clip.offsets, [[0, 0, 0], [0, 0.1, 0]])
    np.testing.assert_allclose(clip.end_sites["upper arm"], [0, 0, 0.05])
    assert clip.channels[1] == ("Yrotation", "Xrotation")
    np.testing.assert_array_equal(clip.t_us, [0, 8333])
    # a quarter turn about z takes +y to -x
    np.testing.assert_allclose(
        clip.world_positions()[0], [[0.01, 0.02, 0.03], [-0.09, 0.02, 0.03]], atol=1e-12
    )


def test_rotations_multiply_in_channel_order(tmp_path: Path) -> None:
    world = read_bvh(write(tmp_path, TINY)).world_rotations()[1]
    root = Rotation.from_euler("XYZ", [10, 20, 30], degrees=True)
    np.testing.assert_allclose(world[0], root.as_matrix(), atol=1e-12)
    child = root * Rotation.from_euler("YX", [40, 50], degrees=True)
    np.testing.assert_allclose(world[1], child.as_matrix(), atol=1e-12)


def test_braces_on_the_same_line_and_other_units(tmp_path: Path) -> None:
    text = TINY.replace("ROOT base\n{", "ROOT base {").replace("Frames: 2", "Frames:\t2")
    clip = read_bvh(write(tmp_path, text), unit_m=1.0)
    assert clip.joints[0] == "base"
    np.testing.assert_allclose(clip.offsets[1], [0, 10, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "", "empty"),
        (lambda t: "solid cube\nfacet\n", "line 1: expected HIERARCHY"),
        (lambda t: t[: t.index("MOTION")], "before MOTION"),
        (lambda t: t.replace("    }\n  }\n}", "    }\n  }"), "line 15: MOTION before the hierarchy"),
        (lambda t: t.replace("OFFSET 0 10 0", "OFFSET 0 ten 0"), "line 8: OFFSET"),
        (lambda t: t.replace("    OFFSET 0 10 0\n", ""), "no OFFSET"),
        (lambda t: t.replace("Frames: 2", "Frames: 2000000000"), "2,000,000,000"),
        (lambda t: t.replace("Frames: 2", "Frames: 0"), "whole number"),
        (lambda t: t.replace("0.008333", "0"), "Frame Time"),
        (lambda t: t.replace("4 5 6 10 20 30 40 50", "4 5 6 10 20 30 40"), "line 20: expected 8 values"),
        (lambda t: t.replace("4 5 6 10", "4 5 six 10"), "line 20"),
        (lambda t: t.replace("4 5 6 10", "4 5 nan 10"), "line 20"),
        (lambda t: t.replace("CHANNELS 2 Y", "CHANNELS 3 Y"), "line 9: CHANNELS"),
        (lambda t: t.replace("Yrotation Xrotation\n", "Yrotation Wrotation\n"), "line 9: unknown"),
        (lambda t: t.replace("JOINT upper arm", "JOINT base"), "used twice"),
        (lambda t: t.replace("    End Site", "    Wnd Site"), "line 10: unknown keyword"),
    ],
)
def test_damaged_files_are_refused_with_the_place(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    changed = change(TINY)
    assert changed != TINY
    with pytest.raises(FormatError, match=message):
        read_bvh(write(tmp_path, changed))


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.bvh"
    path.write_bytes(b"HIERARCHY\n\xff\xfe\x00\x00")
    with pytest.raises(FormatError, match="not a text file"):
        read_bvh(path)


def test_real_clips_agree_with_independent_kinematics(shared: Path) -> None:
    reference = json.loads((shared / "motion/fk_reference.json").read_text())
    assert len(reference) > 100
    roots = set()
    for name, expected in reference.items():
        clip = read_bvh(shared / f"motion/bvh/{name}.bvh")
        roots.add(clip.joints[0])
        columns = [clip.index(j) for j in expected["joints"]]
        found = clip.world_positions()[expected["frames"]][:, columns] * 100
        assert np.abs(found - np.array(expected["xyz_cm"])).max() < 0.01, name
    assert roots == {"Hips", "hip"}
