"""DHP19's published cameras in our world and image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from eventhpe.body.motion import LEVEL_CAMERA_TO_WORLD
from eventhpe.data.dhp19_cameras import (
    CAMERA_POSITIONS_MM,
    CHANNEL_TO_CAMERA,
    DHP19_SIZE,
    PROJECTION_MATRICES,
    dhp19_camera,
    dhp19_to_world,
    projection_matrix,
    world_to_dhp19,
)
from eventhpe.errors import CalibrationError, ShapeError

DESCRIPTION = Path(__file__).resolve().parents[2] / "datasets" / "dhp19" / "cameras.yaml"

POINTS_MM = ((0, 0, 0), (0, 0, 1000), (500, 0, 1000))
# (u, v), v downwards, of these points in the images of cameras 1 to 4, by the authors' rule.
GOLDEN = {
    1: ((226.327, 240.891), (234.719, 141.061), (238.356, 173.292)),
    2: ((160.948, 216.613), (159.145, 125.014), (201.546, 133.868)),
    3: ((171.924, 207.309), (164.930, 119.527), (198.914, 106.416)),
    4: ((195.347, 227.889), (191.474, 132.923), (192.561, 108.668)),
}
# fx, fy, cx, cy and the optical axis in DHP19's world.
DECOMPOSED = {
    1: ((316.8, 319.1, 185.5, 260 - 93.2), (-0.875, -0.077, -0.478)),
    2: ((358.6, 359.4, 168.3, 260 - 126.5), (-0.618, 0.727, -0.298)),
    3: ((339.4, 341.2, 159.0, 260 - 120.6), (0.606, 0.702, -0.375)),
    4: ((323.3, 326.0, 175.3, 260 - 103.7), (0.858, 0.086, -0.506)),
}
SKEW = {1: -5.0, 2: -6.4, 3: -0.5, 4: 3.5}  # of the decomposition with y upwards, with the other sign


@pytest.mark.parametrize("channel", range(4))
def test_points_land_where_the_authors_rule_puts_them(channel: int) -> None:
    camera = dhp19_camera(channel)
    world = dhp19_to_world(POINTS_MM)
    uv = camera.project(camera.to_camera_frame(world))
    assert np.abs(uv - GOLDEN[CHANNEL_TO_CAMERA[channel]]).max() < 1e-3
    # The same for points all over the volume: u = x / w, v = 260 - y / w.
    rng = np.random.default_rng(channel)
    points = rng.uniform((-1000, -1000, 0), (1000, 1000, 2000), (200, 3))
    x, y, w = projection_matrix(channel) @ np.c_[points, np.ones(200)].T
    uv = camera.project(camera.to_camera_frame(dhp19_to_world(points)))
    assert np.abs(uv - np.stack([x / w, 260 - y / w], axis=-1)).max() < 1e-6


@pytest.mark.parametrize("channel", range(4))
def test_the_camera_is_a_proper_one(channel: int) -> None:
    number, camera = CHANNEL_TO_CAMERA[channel], dhp19_camera(channel)
    assert camera.size == DHP19_SIZE == (260, 346)
    assert np.allclose(camera.R_world_to_cam @ camera.R_world_to_cam.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.R_world_to_cam) == pytest.approx(1)
    centre = -camera.R_world_to_cam.T @ camera.t_world_to_cam
    assert np.allclose(world_to_dhp19(centre), CAMERA_POSITIONS_MM[number - 1], atol=1e-6)
    K, (intrinsics, axis) = camera.K, DECOMPOSED[number]
    assert np.allclose((K[0, 0], K[1, 1], K[0, 2], K[1, 2]), intrinsics, atol=0.06)
    assert K[0, 1] == pytest.approx(SKEW[number], abs=0.06)
    assert np.allclose(world_to_dhp19(camera.R_world_to_cam[2]) / 1000, axis, atol=6e-4)


def test_a_person_is_upright_and_not_mirrored() -> None:
    """Heading 0 faces +z in our world, -Y in DHP19's; its left is +x in both, and right in front images."""
    ahead, left = LEVEL_CAMERA_TO_WORLD @ (0, 0, -1), LEVEL_CAMERA_TO_WORLD @ (1, 0, 0)
    assert world_to_dhp19(ahead).tolist() == [0, -1000, 0]
    assert world_to_dhp19(left).tolist() == [1000, 0, 0]
    head, shoulder_left, shoulder_right = (0, 1.7, 0), (0.2, 1.4, 0), (-0.2, 1.4, 0)
    for channel in range(4):
        camera = dhp19_camera(channel)
        uv = camera.project(camera.to_camera_frame([head, shoulder_left, shoulder_right, (0, 0, 0)]))
        assert uv[0, 1] + 100 < uv[3, 1], "the head is above the feet"
        if CHANNEL_TO_CAMERA[channel] in (2, 3):
            assert uv[1, 0] > uv[2, 0] + 10


def test_conversions_are_inverse_and_keep_dropouts() -> None:
    rng = np.random.default_rng(0)
    xyz = rng.normal(size=(5, 13, 3))
    xyz[2, 3] = np.nan
    xyz[4, 1, 2] = np.nan
    given = xyz.copy()
    mm = world_to_dhp19(xyz)
    assert np.isnan(mm).sum() == 4 and np.isnan(mm[4, 1]).tolist() == [False, True, False]
    assert np.allclose(dhp19_to_world(mm), xyz, atol=1e-15, equal_nan=True)
    assert np.array_equal(xyz, given, equal_nan=True)
    assert world_to_dhp19((0.1, 0.2, 0.3)).tolist() == pytest.approx([100, -300, 200])
    with pytest.raises(ShapeError, match=r"\(\*, 3\)"):
        world_to_dhp19(np.zeros((3, 2)))
    with pytest.raises(CalibrationError, match="0 to 3"):
        dhp19_camera(4)


def test_the_description_holds_the_same_numbers() -> None:
    told = yaml.safe_load(DESCRIPTION.read_text(encoding="utf-8"))
    assert (told["size"]["height"], told["size"]["width"]) == DHP19_SIZE
    assert told["channel_to_camera"] == CHANNEL_TO_CAMERA
    assert set(told["cameras"]) == set(PROJECTION_MATRICES)
    for number, camera in told["cameras"].items():
        assert camera["P"] == PROJECTION_MATRICES[number].tolist()
        assert camera["position_mm"] == CAMERA_POSITIONS_MM[number - 1].tolist()
        # The published positions follow from the matrices.
        P = PROJECTION_MATRICES[number]
        assert np.allclose(-np.linalg.solve(P[:, :3], P[:, 3]), camera["position_mm"], rtol=1e-10)
