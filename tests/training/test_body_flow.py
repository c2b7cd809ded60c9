"""What FlowNet learns from known bodies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.body.model import BodyModel
from eventhpe.data.sample import Clip, collate
from eventhpe.data.synthetic import ClipDataset
from eventhpe.errors import ShapeError
from eventhpe.flownet.losses import end_point_loss
from eventhpe.flownet.network import FlowNetConfig
from eventhpe.shapenet.crop import crop_to_pixels, project_to_crop
from eventhpe.shapenet.flow_motion import FlowMotion, FlowMotionConfig
from eventhpe.training.body_flow import ELSEWHERE, body_flow, flow_weight, motion_loss
from eventhpe.training.flownet import FlowNetModule, KnownBody

S = 64


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return open_body()


@pytest.fixture(scope="module")
def clip(recordings: Path) -> Clip:
    data = ClipDataset(recordings, length=4, num_windows=2, size_px=S, seed=3, augment=False)
    return collate([data[i] for i in range(4)])


def shifted(clip: Clip, metres: float) -> Clip:
    """The same people, stiff, moving to the side by so much in every window."""
    path = torch.arange(clip.rotmats.shape[1]).view(1, -1, 1) * torch.tensor([metres, 0.0, 0.0])
    return clip._replace(
        rotmats=clip.rotmats[:, :1].expand_as(clip.rotmats),
        transl=clip.transl[:, :1] + path,
        joints3d=clip.joints3d[:, :1] + path[:, :, None],
    )


def nearest_known(flow: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """(2, S, S) flow with its gaps filled by the nearest pixel where it is known."""
    places = known.nonzero()
    rows = torch.stack(torch.meshgrid(torch.arange(S), torch.arange(S), indexing="ij"), -1).view(-1, 2)
    nearest = torch.cdist(rows.float(), places.float()).argmin(1)
    return flow[:, places[nearest, 0], places[nearest, 1]].view(2, S, S)


def test_flow_is_the_motion_of_the_skin_in_the_crop(clip: Clip, body: BodyModel) -> None:
    flow, known = body_flow(shifted(clip, 0.05), body, KnownBody.of(body).subset)
    assert flow.shape == (8, 2, S, S) and known.shape == (8, S, S)
    assert ((known.flatten(1).float().mean(1) > 0.02) & (known.flatten(1).float().mean(1) < 0.6)).all()
    assert torch.equal(flow * ~known[:, None], torch.zeros_like(flow))
    # A sideways step of 5 cm at the pelvis' distance, in pixels; near and far parts move more and less.
    depth = clip.joints3d[:, 0, 0, 2]
    pixels = (0.05 / depth[:, None] / clip.crop[..., 2] * S / 2).flatten()
    for one, seen, expected in zip(flow, known, pixels, strict=True):
        assert float(one[0][seen].mean()) == pytest.approx(float(expected), rel=0.1)
        assert float(one[1][seen].abs().max()) < 0.05


def test_flow_lies_on_the_person(clip: Clip, body: BodyModel) -> None:
    """Most joints are seen or have skin before them."""
    known = body_flow(clip, body, KnownBody.of(body).subset)[1].float()[:, None]
    near = torch.nn.functional.max_pool2d(known, 5, stride=1, padding=2)[:, 0]
    uv = crop_to_pixels(project_to_crop(clip.joints3d[:, :-1], clip.crop), S).flatten(0, 1).round().long()
    inside = ((uv >= 0) & (uv < S)).all(-1)
    uv = uv.clamp(0, S - 1)
    hit = near[torch.arange(len(uv))[:, None], uv[..., 1], uv[..., 0]]
    assert float(hit[inside].mean()) > 0.95


def test_hidden_skin_has_no_say(clip: Clip, body: BodyModel) -> None:
    """A quarter turn about the spine moves the back against the front; only the front counts."""
    turned = clip.rotmats[:, :2].clone()
    turned[:, 1, 0] = turned[:, 0, 0] @ torch.tensor(
        [[0.995, 0.0, 0.0998], [0.0, 1.0, 0.0], [-0.0998, 0.0, 0.995]]
    )
    still = clip._replace(
        rotmats=turned, transl=clip.transl[:, :1].expand(-1, 2, -1), crop=clip.crop[:, :1],
        frames=clip.frames[:, :1],
    )  # fmt: skip
    flow, known = body_flow(still, body, KnownBody.of(body).subset)
    # Facing the camera, the front moves towards the subject's left, which is to the right of the image.
    facing = turned[:, 0, 0, 2, 2] < -0.7
    assert facing.any()
    for one, seen in zip(flow[facing], known[facing], strict=True):
        rows = slice(S // 3, 2 * S // 3)
        assert float((one[0][rows][seen[rows]]).median()) > 0.1


def test_what_is_not_the_person_should_not_move(clip: Clip, body: BodyModel) -> None:
    flow, known = body_flow(clip, body, KnownBody.of(body).subset)
    weight = flow_weight(known)
    assert torch.equal(weight[known], torch.ones(int(known.sum())))
    elsewhere = weight == ELSEWHERE
    assert set(weight.unique().tolist()) == {0.0, weight[elsewhere][0].item(), 1.0}
    assert 0.2 < float(elsewhere.float().mean()) < 0.95 and not flow.norm(dim=1)[elsewhere].any()
    # Three pixels at this size lie between any skin and what is surely elsewhere.
    reach = torch.nn.functional.max_pool2d(elsewhere[:, None].float(), 7, stride=1, padding=3)[:, 0]
    assert not (reach.bool() & known).any()
    made_up = flow + 5.0 * elsewhere[:, None]
    assert end_point_loss([made_up], flow, weight) > 2 * end_point_loss([flow], flow, weight)


def test_bodies_that_follow_the_true_flow_move_more_like_the_true_ones(clip: Clip, body: BodyModel) -> None:
    motion = FlowMotion(body, FlowMotionConfig(flow_px=1.0))
    flow, known = body_flow(clip, body, torch.arange(body.num_vertices))
    filled = torch.stack([nearest_known(one, seen) for one, seen in zip(flow, known, strict=True)])
    torch.manual_seed(0)
    good = motion_loss(filled, clip, body, motion)
    torch.manual_seed(0)
    still = motion_loss(torch.zeros_like(flow), clip, body, motion)
    assert 0 < float(good) < 0.9 * float(still)
    filled.requires_grad_()
    motion_loss(filled, clip, body, motion).backward()
    assert filled.grad is not None and filled.grad.abs().sum() > 0


def test_the_objective_is_end_points_and_motion(
    clip: Clip, body: BodyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    module = FlowNetModule(FlowNetConfig(base_width=4), objective="bodies", lr=1e-3, steps=2, body=body)
    values: dict[str, float] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: values.update({name: float(value.detach())}))
    monkeypatch.setattr(
        module, "log_dict", lambda terms, **_: values.update({k: float(v.detach()) for k, v in terms.items()})
    )
    total = module.training_step(clip, 0)
    assert set(values) == {"train/end_point", "train/motion", "train/total"}
    assert float(total.detach()) == pytest.approx(
        values["train/end_point"] + values["train/motion"], rel=1e-5
    )
    total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.network.parameters())
    module.eval()
    with torch.no_grad():
        module.validation_step(clip, 0)
        flows = module.network(clip.frames.flatten(0, 1))
    true, known = body_flow(clip, body, KnownBody.of(body).subset)
    near = known & (clip.frames.flatten(0, 1) > 0).any(1)
    assert values["val/epe_px"] == pytest.approx(float((flows[-1] - true).norm(dim=1)[near].mean()), rel=1e-4)
    assert values["val/epe_zero_px"] == pytest.approx(float(true.norm(dim=1)[near].mean()), rel=1e-4)
    assert end_point_loss(flows, true, known) > 0
    with pytest.raises(ShapeError, match="needs a body"):
        FlowNetModule(FlowNetConfig(), objective="bodies", lr=1e-3, steps=2)
    with pytest.raises(ShapeError, match="fixed variant"):
        FlowNetModule(FlowNetConfig(variant="parity"), objective="bodies", lr=1e-3, steps=2, body=body)
