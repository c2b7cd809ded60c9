"""ShapeNet together with the package's own body."""

from __future__ import annotations

import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.body.model import BodyModel
from eventhpe.shapenet.coherence import CoherenceConfig, flow_coherence, visible_in_crop
from eventhpe.shapenet.crop import crop_to_pixels, project_to_crop
from eventhpe.shapenet.losses import BodyTargets, shape_losses
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import ShapeNetConfig

CROP = torch.tensor([0.0, 0.0, 0.35]).view(1, 1, 3)
TO_CAMERA = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return open_body()


def standing(body: BodyModel) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rotmats = torch.eye(3).repeat(1, 1, 24, 1, 1)
    rotmats[:, :, 0] = TO_CAMERA
    betas = torch.zeros(1, 1, 10)
    pelvis = body.rest_joints(betas)[..., 0, :]
    return rotmats, betas, torch.tensor([0.0, 0.0, 3.0]) - pelvis


def test_the_networks_pelvis_is_the_bodys(body: BodyModel) -> None:
    net = ShapeNet(ShapeNetConfig(in_channels=2, width=4, hidden=16))
    net.set_body(body.J_template[0], body.J_shapedirs[0])
    betas = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    expected = body.rest_joints(betas)[:, 0]
    torch.testing.assert_close(net.pelvis_at_rest(betas), expected, atol=1e-5, rtol=0)
    turned = torch.eye(3).repeat(4, 24, 1, 1)
    turned[:, 0] = TO_CAMERA
    transl = torch.tensor([0.3, 0.1, 3.0])
    posed = body.joints(turned, betas, transl.expand(4, 3))[:, 0]
    torch.testing.assert_close(posed, expected + transl, atol=1e-5, rtol=0)


def test_true_motion_of_the_body_agrees_with_its_own_flow(body: BodyModel) -> None:
    rotmats, betas, transl = standing(body)
    subset = torch.linspace(0, body.num_vertices - 1, 1200).round().long()
    moved = transl + torch.tensor([0.12, 0.0, 0.0])
    before = body.vertices(rotmats, betas, transl, subset=subset)
    after = body.vertices(rotmats, betas, moved, subset=subset)
    pixel = [crop_to_pixels(project_to_crop(v, CROP), 128) for v in (before, after)]
    shift = (pixel[1] - pixel[0]).mean((0, 1, 2))
    flow = shift.view(1, 1, 2, 1, 1).expand(1, 1, 2, 128, 128)
    right = flow_coherence(torch.cat([before, after], 1), flow, CROP, config=CoherenceConfig(mode="cosine"))
    wrong = flow_coherence(torch.cat([after, before], 1), flow, CROP, config=CoherenceConfig(mode="cosine"))
    assert right < 0.01 and wrong > 1.99


def test_the_front_is_visible_and_the_back_is_not(body: BodyModel) -> None:
    subset = torch.linspace(0, body.num_vertices - 1, 1200).round().long()
    rotmats, betas, transl = standing(body)
    vertices = body.vertices(rotmats, betas, transl, subset=subset)[0, 0]
    seen = visible_in_crop(vertices, CROP[0, 0])
    trunk = (vertices[:, 0].abs() < 0.12) & (vertices[:, 1].abs() < 0.4)
    nearer = trunk & (vertices[:, 2] < 2.93)
    farther = trunk & (vertices[:, 2] > 3.03)
    assert nearer.sum() > 10 and farther.sum() > 10
    assert seen[nearer].float().mean() > 0.95 and seen[farther].float().mean() < 0.2


def test_losses_run_with_the_body_and_vanish_at_the_truth(body: BodyModel) -> None:
    rotmats, betas, transl = (v.expand(-1, 2, *v.shape[2:]) for v in standing(body))
    targets = BodyTargets(rotmats, betas, transl, body.joints(rotmats, betas, transl))
    net = ShapeNet(ShapeNetConfig(in_channels=2, width=4, hidden=16))
    frames, flow = torch.rand(1, 2, 2, 64, 64), 4 * torch.randn(1, 2, 2, 64, 64)
    out = net(frames, flow, CROP.expand(1, 2, 3))
    subset = torch.arange(0, body.num_vertices, 20)
    total, terms = shape_losses(
        out, targets, body=body, crop=CROP.expand(1, 2, 3), flow=flow, vertex_subset=subset
    )
    total.backward()
    assert torch.isfinite(total) and terms["coherence"] > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
