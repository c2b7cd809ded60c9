"""Contours of a posed body."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree
from torch import Tensor

from eventhpe.body.default import open_body
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.render.raster import rasterize
from eventhpe.shapenet.contours import BodyContours, Contour

CROP = torch.tensor([0.02, -0.01, 0.4])
SIZE, FOCAL = 400, 400.0


@pytest.fixture(scope="module")
def contours() -> BodyContours:
    return BodyContours(open_body())


def standing(turned: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Somebody 3 m away, in a random pose, turned about the vertical."""
    pose = 0.15 * np.random.default_rng(seed).normal(size=(24, 3))
    pose[0] = 0
    rotmats = torch.from_numpy(rotvec_to_rotmat(pose)).float()
    c, s = np.cos(turned), np.sin(turned)
    facing = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float32)
    rotmats[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ facing
    return rotmats, torch.zeros(10), torch.tensor([0.05, 0.2, 3.0])


def outline(body: tuple[Tensor, Tensor, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Mask of the body in an image that shows more than the crop, and (N, 2) pixels of its border."""
    vertices = open_body().vertices(*body).numpy().astype(np.float64)
    camera = Camera.from_focal(FOCAL, (SIZE, SIZE))
    mask = rasterize(vertices, open_body().faces, camera).coverage > 0.5
    border = np.argwhere(mask & ~binary_erosion(mask))[:, ::-1]
    return mask, border.astype(np.float64)


def pixels(contour: Contour) -> np.ndarray:
    camera = Camera.from_focal(FOCAL, (SIZE, SIZE))
    return np.asarray(camera.project(contour.points.numpy()))


@pytest.mark.parametrize("turned", [0.0, 0.8, 2.5])
def test_contours_are_where_the_rendered_body_ends(contours: BodyContours, turned: float) -> None:
    body = standing(turned)
    contour = contours.of(*body, CROP)
    mask, border = outline(body)
    uv = pixels(contour)
    # The whole outline is there...
    distance, _ = cKDTree(uv).query(border)
    assert np.quantile(distance, 0.95) < 4 and distance.mean() < 1.5
    # ...and normals point away from the body: on the outline, one side is body and the other is not.
    far, _ = cKDTree(border).query(uv)
    on = far < 1.0
    assert on.mean() > 0.5

    def at(points: np.ndarray) -> np.ndarray:
        x, y = points.round().astype(int).T
        return np.asarray(mask[y, x])

    # Fingers are three pixels thick.
    step = 1.5 * contour.normals.numpy()[on]
    assert at(uv[on] - step).mean() > 0.9 and at(uv[on] + step).mean() < 0.2
    np.testing.assert_allclose(contour.normals.norm(dim=-1), 1, atol=1e-5)


def test_what_the_body_hides_is_no_contour(contours: BodyContours) -> None:
    rotmats, betas, transl = standing(0.0)
    rotmats[1:] = torch.eye(3)
    back = contours.of(rotmats, betas, transl, CROP)
    # Seen from the side one arm hides behind the trunk and the other lies before it.
    side = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    turned = rotmats.clone()
    turned[0] = rotmats[0] @ side
    seen = contours.of(turned, betas, transl, CROP)
    arms = [contours.body.skeleton.joints.index(f"elbow_{s}") for s in ("left", "right")]
    lengths = [(seen.below[:, a] > 0.5).sum() for a in arms]
    assert max(lengths) > 20 and min(lengths) < 0.5 * max(lengths)
    both = [(back.below[:, a] > 0.5).sum() for a in arms]
    assert min(both) > 0.8 * max(both)
    assert float(back.below[:, 0].min()) > 0.999  # the root carries everything


def test_outside_the_crop_there_is_nothing(contours: BodyContours) -> None:
    away = torch.tensor([2.0, 0.0, 0.1])
    contour = contours.of(*standing(0.0), away)
    assert contour.points.shape == (0, 3) and contour.normals.shape == (0, 2)
