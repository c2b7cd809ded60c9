from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.shapenet.coherence import CoherenceConfig, flow_coherence, parity_coherence, visible_in_crop

S = 64
COSINE = CoherenceConfig(mode="cosine")
CROP = torch.tensor([0.0, 0.0, 0.25]).view(1, 1, 3)
DEPTH = 3.0
PX = 2 * 0.25 / S * DEPTH
"""Metres per pixel at DEPTH."""


def plane(n: int = 300, seed: int = 0) -> Tensor:
    """Points on a plane facing the camera, within the crop."""
    g = torch.Generator().manual_seed(seed)
    xy = (torch.rand(n, 2, generator=g) - 0.5) * 0.9
    return torch.cat([xy, torch.full((n, 1), DEPTH)], 1)


def moving(points: Tensor, u: float, v: float) -> Tensor:
    return torch.stack([points, points + torch.tensor([u * PX, v * PX, 0.0])])[None]


def constant(u: float, v: float, size: int = S) -> Tensor:
    return torch.tensor([u, v]).view(1, 1, 2, 1, 1).expand(1, 1, 2, size, size)


@pytest.mark.parametrize("mode", ["cosine", "robust"])
def test_rigid_translation_over_constant_flow_costs_nothing(mode: str) -> None:
    loss = flow_coherence(moving(plane(), 5, 2), constant(5, 2), CROP, config=CoherenceConfig(mode=mode))
    assert float(loss) == pytest.approx(0.0, abs=1e-4)


def test_opposite_motion_costs_two() -> None:
    loss = flow_coherence(moving(plane(), -5, -2), constant(5, 2), CROP, config=COSINE)
    assert float(loss) == pytest.approx(2.0, abs=1e-4)


def test_robust_mode_sees_the_length_and_cosine_does_not() -> None:
    twice = moving(plane(), 10, 4)
    assert float(flow_coherence(twice, constant(5, 2), CROP, config=COSINE)) == pytest.approx(0.0, abs=1e-4)
    expected = np.hypot(5, 2) / (S / 32)
    robust = float(flow_coherence(twice, constant(5, 2), CROP, config=CoherenceConfig(mode="robust")))
    assert robust == pytest.approx(expected, abs=0.02)


def test_hidden_vertices_are_ignored() -> None:
    front = plane(1500)
    back = front[:300] + torch.tensor([0.0, 0.0, 0.3])
    both = torch.cat([moving(front, 5, 0), moving(back, -6, 0)], 2)
    alone = flow_coherence(moving(front, 5, 0), constant(5, 0), CROP, config=COSINE)
    assert float(flow_coherence(both, constant(5, 0), CROP, config=COSINE)) == pytest.approx(
        float(alone), abs=0.02
    )
    mask = torch.cat([torch.ones(1, 1, 1500, dtype=torch.bool), torch.zeros(1, 1, 300, dtype=torch.bool)], 2)
    given = flow_coherence(both, constant(5, 0), CROP, visible=mask, config=COSINE)
    assert float(given) == pytest.approx(float(alone), abs=1e-6)
    everything = flow_coherence(both, constant(5, 0), CROP, visible=torch.ones_like(mask), config=COSINE)
    assert float(everything) == pytest.approx(2 * 300 / 1800, abs=0.02)


def test_mean_over_valid_vertices_not_over_all() -> None:
    flow = constant(5, 0).clone()
    flow[..., : S // 2] = 0.0  # nothing moves on the left half: no evidence there
    half = flow_coherence(moving(plane(), -5, 0), flow, CROP, config=COSINE)
    assert float(half) == pytest.approx(2.0, abs=0.05)
    assert float(flow_coherence(moving(plane(), -5, 0), constant(0, 0), CROP, config=COSINE)) < 0.05 * 2 * 300


def test_masked_windows_are_ignored() -> None:
    vertices = torch.cat([moving(plane(), 5, 0), moving(plane(), -5, 0)])
    flow, crop = constant(5, 0).expand(2, -1, -1, -1, -1), CROP.expand(2, -1, -1)
    mask = torch.tensor([[True], [False]])
    assert float(flow_coherence(vertices, flow, crop, mask=mask, config=COSINE)) == pytest.approx(
        0.0, abs=1e-4
    )


@pytest.mark.parametrize("mode", ["cosine", "robust"])
def test_gradient_reaches_translation_and_points_along_the_flow(mode: str) -> None:
    shift = torch.zeros(3, requires_grad=True)
    vertices = torch.stack([plane(), plane() + shift + torch.tensor([0.0, 2 * PX, 0.0])])[None]
    flow_coherence(vertices, constant(5, 2), CROP, config=CoherenceConfig(mode=mode)).backward()
    assert shift.grad is not None and torch.isfinite(shift.grad).all() and shift.grad[0] < 0


def test_gradient_is_finite_for_a_body_that_stands_still() -> None:
    points = plane().requires_grad_()
    flow_coherence(torch.stack([points, points])[None], constant(5, 2), CROP).backward()
    assert torch.isfinite(points.grad).all()  # type: ignore[arg-type]


def test_flow_is_sampled_at_exact_pixels() -> None:
    """A linear flow field, read at a vertex on a known pixel, gives that pixel's value."""
    u = torch.arange(S).float().expand(S, S)
    flow = torch.stack([u, torch.zeros(S, S)])[None, None]
    x = ((40 + 0.5) * 2 / S - 1) * 0.25 * DEPTH  # pixel 40
    vertex = torch.tensor([[x, 0.0, DEPTH]])
    config = CoherenceConfig(mode="robust")
    exact = flow_coherence(moving(vertex, 40, 0), flow, CROP, config=config)
    half = flow_coherence(moving(vertex, 39.5, 0), flow, CROP, config=config)
    assert float(exact) == pytest.approx(0.0, abs=1e-3) and float(half) > 0.1


def test_visibility_of_a_sphere() -> None:
    g = np.random.default_rng(0)
    normals = g.normal(size=(2000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    vertices = torch.tensor(0.35 * normals + [0, 0, DEPTH], dtype=torch.float32)
    facing = (normals * vertices.numpy()).sum(1) < 0
    seen = visible_in_crop(vertices, CROP[0, 0]).numpy()
    # Near the outline the surface is steeper than the tolerance over one cell, and a few cells hold no
    # vertex of the front.
    assert seen[normals[:, 2] < -0.6].mean() > 0.95 and seen[normals[:, 2] > 0.4].mean() < 0.1
    strict = visible_in_crop(vertices, CROP[0, 0], normals=torch.tensor(normals, dtype=torch.float32))
    assert not strict.numpy()[~facing].any()


def test_outside_and_behind_the_camera_is_hidden() -> None:
    points = torch.tensor([[0.0, 0.0, DEPTH], [5.0, 0.0, DEPTH], [0.0, 0.0, -1.0]])
    assert visible_in_crop(points, CROP[0, 0]).tolist() == [True, False, False]


K = torch.tensor([[S / 0.5, 0, S / 2], [0, S / 0.5, S / 2], [0, 0, 1]])


def test_parity_form_counts_all_vertices_and_hides_none() -> None:
    front = plane()
    both = torch.cat([moving(front, 6, 0), moving(front + torch.tensor([0, 0, 0.3]), -7, 0)], 2)
    none = torch.zeros(1, 2, 3)
    assert float(parity_coherence(both, constant(6, 0), none, K)) == pytest.approx(1.0, abs=1e-3)
    assert float(parity_coherence(moving(front, -3, 0), constant(3.9, 0), none, K)) == 0.0
    half = constant(6, 0).clone()
    half[..., : S // 2] = 0.0
    share = float((front[:, 0] > 0).float().mean())
    assert float(parity_coherence(moving(front, -6, 0), half, none, K)) == pytest.approx(2 * share, abs=0.05)


def test_parity_form_detaches_translation_and_samples_half_a_pixel_off() -> None:
    transl = torch.zeros(1, 2, 3, requires_grad=True)
    points = plane().requires_grad_()
    still = torch.stack([points, points + torch.tensor([0.0, 0.1, 0.0])])[None]
    parity_coherence(still, constant(6, 0), transl, K).backward()
    assert transl.grad is None and points.grad is not None
    flow = torch.zeros(1, 1, 2, S, S)
    flow[0, 0, 0, :, 40:] = 8.0
    x = (40 - S / 2) / S * 0.5 * DEPTH  # exactly pixel 40 of the released camera
    vertex = torch.tensor([[x, 0.0, DEPTH]])
    # Read half a pixel to the left the flow is (8 + 0) / 2 = 4, which is not above the threshold.
    assert float(parity_coherence(moving(vertex, -6, 0), flow, torch.zeros(1, 2, 3), K)) == 0.0


def test_shape_errors() -> None:
    with pytest.raises(ShapeError, match="one body more"):
        flow_coherence(torch.zeros(1, 1, 5, 3), constant(1, 1), CROP)
    with pytest.raises(ShapeError, match="mode"):
        CoherenceConfig(mode="l2")
