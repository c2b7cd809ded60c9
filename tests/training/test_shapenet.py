"""ShapeNet's training module on a few small clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eventhpe.body.default import open_body
from eventhpe.data.framed_clips import FramedClip
from eventhpe.data.pose_samples import PoseSamples
from eventhpe.data.sample import Clip, collate
from eventhpe.data.synthetic import ClipDataset
from eventhpe.errors import ShapeError
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.geometry.rotation import geodesic_angle, rotvec_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON
from eventhpe.shapenet.crop import ray_rotation
from eventhpe.shapenet.frame_head import FrameHeadConfig
from eventhpe.shapenet.heads.base import JointLabels
from eventhpe.shapenet.losses import ShapeLossWeights
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import ShapeNetConfig, ShapeOutput
from eventhpe.training.shapenet import ShapeNetModule, mean_pose
from tests.small_world import SHAPE, random_flownet

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")

NO_FLOW = ShapeNetConfig(**{**SHAPE.to_json(), "use_flow": False})


@pytest.fixture(scope="module")
def clips(recordings: Path) -> Clip:
    data = ClipDataset(recordings, length=2, num_windows=3, size_px=64, seed=3, augment=False)
    return collate([data[0], data[1]])


def module(config: ShapeNetConfig, flow: FlowEstimator | None = None, **changes: Any) -> ShapeNetModule:
    torch.manual_seed(0)
    options = {"loss": ShapeLossWeights(), "lr": 3e-3, "steps": 30, "coherence_vertices": 200} | changes
    return ShapeNetModule(config, open_body(), flow, **options)  # type: ignore[arg-type]


def logged(target: nn.Module, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    values: dict[str, float] = {}
    monkeypatch.setattr(target, "log", lambda name, value, **_: values.update({name: float(value.detach())}))
    monkeypatch.setattr(
        target, "log_dict", lambda terms, **_: values.update({k: float(v.detach()) for k, v in terms.items()})
    )
    return values


def true_output(clip: Clip, *, shift: tuple[float, float, float] = (0, 0, 0)) -> ShapeOutput:
    T = clip.frames.shape[1]
    return ShapeOutput(
        rotmats=clip.rotmats[:, 1:],
        betas=clip.betas[:, None].expand(-1, T, -1),
        transl=clip.transl[:, 1:] + torch.tensor(shift),
        rotmats_start=clip.rotmats[:, 0],
        transl_start=clip.transl[:, 0],
        hidden=torch.zeros(len(clip.frames), 1),
    )


class Always(ShapeNet):
    """Returns one output and remembers the start poses that it was given."""

    def __init__(self, output: ShapeOutput) -> None:
        super().__init__(NO_FLOW)
        self.output, self.starts = output, []

    def forward(self, frames: Tensor, flow: Any, crop: Tensor, start: Any = None, hidden: Any = None) -> Any:
        self.starts.append(start)
        return self.output


def test_the_parity_variant_has_the_published_losses_and_always_a_start(
    clips: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ShapeNetConfig(variant="parity", encoder="resnet18", width=4, grid=1, hidden=32, size=64)
    m = module(config, FlowEstimator(random_flownet()), start_share=0.0)
    values = logged(m, monkeypatch)
    m.training_step(clips, 0).backward()
    terms = {"translation", "geodesic", "joints3d", "joints2d", "delta_translation", "coherence", "total"}
    assert set(values) == {f"train/{t}" for t in terms} and np.isfinite(list(values.values())).all()
    with torch.no_grad():
        m.validation_step(clips, 0)
    assert "val/root_aligned_start_mm" in values and "val/root_aligned_free_mm" not in values


def test_body_and_flownet_stay_out_of_checkpoints(clips: Clip) -> None:
    estimator = FlowEstimator(random_flownet())
    m = module(SHAPE, estimator)
    assert set(m.state_dict()) == {f"network.{name}" for name in m.network.state_dict()}
    torch.testing.assert_close(m.network.rest_pelvis, open_body().J_template[0])
    m.training_step(clips, 0).backward()
    assert all(p.grad is None for p in estimator.network.parameters())
    assert not estimator.network.training


def test_flow_comes_from_the_frozen_flownet_window_by_window(clips: Clip) -> None:
    estimator = FlowEstimator(random_flownet())
    flow = module(SHAPE, estimator).estimate_flow(clips.frames)
    assert flow is not None and flow.shape == (2, 3, 2, 64, 64)
    alone = torch.from_numpy(estimator.estimate(clips.frames[1, 2][None]))[0]
    torch.testing.assert_close(flow[1, 2], alone, rtol=1e-3, atol=1e-4)
    assert flow.abs().mean() > 0.05
    assert module(NO_FLOW).estimate_flow(clips.frames) is None


@pytest.mark.parametrize("with_flow", [True, False])
def test_every_parameter_learns(clips: Clip, with_flow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = FlowEstimator(random_flownet()) if with_flow else None
    m = module(SHAPE if with_flow else NO_FLOW, flow, start_share=0.0)
    values = logged(m, monkeypatch)
    total = m.training_step(clips, 0)
    assert np.isfinite(list(values.values())).all() and float(total) == values["train/total"]
    assert ("train/coherence" in values) is with_flow
    assert {"train/geodesic", "train/joints3d", "train/translation", "train/betas", "train/nll"} <= set(
        values
    )
    total.backward()
    silent = [n for n, p in m.network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []


def test_weights_of_the_terms_are_used(clips: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = dict.fromkeys(ShapeLossWeights().to_json(), 0.0)
    m = module(SHAPE, FlowEstimator(random_flownet()), loss=ShapeLossWeights(**{**zeros, "joints3d": 2.0}))
    values = logged(m, monkeypatch)
    m.training_step(clips, 0)
    assert set(values) == {"train/joints3d", "train/total"}
    assert values["train/total"] == pytest.approx(2 * values["train/joints3d"], rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_share_of_steps_with_a_start_pose(clips: Clip, share: float) -> None:
    m = module(NO_FLOW, start_share=share)
    m.network = Always(true_output(clips))  # type: ignore[assignment]
    for step in range(4):
        m.training_step(clips, step)
    assert [s is not None for s in m.network.starts] == [share == 1.0] * 4


def test_disturbed_starts_are_off_by_much_or_little_and_say_so(clips: Clip) -> None:
    m = module(NO_FLOW)
    true = m._start(clips)
    angles, offsets, variances, headings = [], [], [], []
    for _ in range(40):
        noisy = m._noisy_start(clips)
        turned = geodesic_angle(noisy.rotmats, true.rotmats)
        angles.append(turned[:, 1:].mean(-1))
        headings.append(turned[:, 0])
        offsets.append((noisy.transl - true.transl).norm(dim=-1))
        assert noisy.variance is not None and noisy.variance.shape == (len(clips.betas), 25)
        variances.append(noisy.variance[:, 1])
        assert torch.equal(noisy.variance[:, 1:], noisy.variance[:, 1:2].expand(-1, 24))
        assert (noisy.variance[:, 0] >= noisy.variance[:, 1]).all()
        assert torch.equal(noisy.betas, clips.betas) and noisy.betas_count is None
    angle, offset, variance = (torch.cat(v) for v in (angles, offsets, variances))
    # Mean angle of a rotation whose three components have deviation s: 1.6 s, with s up to 0.3.
    assert angle.min() < 0.05 and 0.35 < angle.max() < 0.6
    assert 0 < offset.min() < 0.03 and 0.1 < offset.max() < 0.6
    heading = torch.cat(headings)
    assert heading.median() < 0.7 and 0.8 < heading.max() <= np.pi
    expected = 0.01 + 3 * (angle / 1.6 / 0.4).square()
    torch.testing.assert_close(variance, expected, rtol=0.5, atol=0.01)
    assert torch.equal(true.transl, clips.transl[:, 0]) and torch.equal(true.rotmats, clips.rotmats[:, 0])


def test_validation_is_in_millimetres_with_and_without_start(
    clips: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = module(NO_FLOW)
    values = logged(m, monkeypatch)
    m.network = Always(true_output(clips))  # type: ignore[assignment]
    m.validation_step(clips, 0)
    assert values == {
        f"val/{what}_{name}_mm": pytest.approx(0, abs=0.01)
        for what in ("root_aligned", "pelvis")
        for name in ("free", "start")
    }
    given = [s for s in m.network.starts if s is not None]
    assert len(m.network.starts) == 2 and len(given) == 1
    assert torch.equal(given[0].transl, clips.transl[:, 0])
    m.network = Always(true_output(clips, shift=(0.03, 0.0, -0.04)))  # type: ignore[assignment]
    m.validation_step(clips, 0)
    assert values["val/pelvis_free_mm"] == pytest.approx(50, rel=1e-3)
    assert values["val/root_aligned_free_mm"] == pytest.approx(0, abs=0.01)


def test_one_batch_is_learned(clips: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    m = module(NO_FLOW, start_share=0.0)
    m.network.set_mean_pose(mean_pose([Clip(*(v[i] for v in clips)) for i in range(2)]))
    values = logged(m, monkeypatch)
    optimizer = m.configure_optimizers()["optimizer"]
    first: dict[str, float] = {}
    for step in range(30):
        loss = m.training_step(clips, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = first or dict(values)
    for term in ("total", "joints3d", "translation"):
        assert values[f"train/{term}"] < 0.5 * first[f"train/{term}"], term


def test_mean_pose_is_relative_to_the_ray() -> None:
    rng = np.random.default_rng(0)
    pose = torch.tensor(rotvec_to_rotmat(rng.normal(0, 0.5, (24, 3))), dtype=torch.float32)
    clips = []
    for x, y in ((0.4, -0.2), (-0.3, 0.1)):
        crop = torch.tensor([x, y, 0.3]).expand(2, 3)
        rotmats = pose.repeat(3, 1, 1, 1)
        rotmats[:, 0] = ray_rotation(crop[0]) @ pose[0]
        rotmats[0] = torch.eye(3)  # the start pose does not count: no crop belongs to it
        clips.append(Clip(torch.empty(0), crop, rotmats, torch.empty(0), torch.empty(0), torch.empty(0)))
    torch.testing.assert_close(mean_pose(clips), pose, rtol=0, atol=1e-5)


def test_card_names_the_training() -> None:
    card = module(NO_FLOW, loss=ShapeLossWeights(coherence=0.0), lr=0.5, steps=7, start_share=0.25).card()
    assert (card["lr"], card["steps"], card["start_share"]) == (0.5, 7, 0.25)
    assert card["loss"]["coherence"] == 0.0 and card["loss"]["joints3d"] == 10.0


FRAME = FrameHeadConfig("hemlets", "smpl24", options={"width": 0.05, "depth_bins": 8})


def test_a_frame_head_adds_its_terms_and_stays_out_of_the_network(
    clips: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, framed = module(NO_FLOW, start_share=0.0), module(NO_FLOW, start_share=0.0, frame=FRAME)
    framed.network.load_state_dict(plain.network.state_dict())
    values, more = logged(plain, monkeypatch), logged(framed, monkeypatch)
    for target in (plain, framed):
        target.training_step(clips, 0).backward()
    own = {name for name in more if name.startswith("train/frame")}
    assert set(more) - own == set(values)
    assert more["train/total"] == pytest.approx(
        values["train/total"] + FRAME.weight * more["train/frame"], rel=1e-5
    )
    assert more["train/frame"] == pytest.approx(sum(more[name] for name in own - {"train/frame"}), rel=1e-5)
    assert {n for n in framed.state_dict() if n.startswith("network.")} == set(plain.state_dict())
    first = next(iter(framed.network.encoder.parameters())).grad
    assert not torch.allclose(first, next(iter(plain.network.encoder.parameters())).grad)
    assert framed.card()["frame"]["head"] == "hemlets" and plain.card()["frame"] is None


def test_windows_that_come_beside_the_clips_teach_the_frame_head(
    clips: Clip, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = PoseSamples(64, skeleton="smpl24", augment=False).open(recordings, 4, 1)
    windows = collate([collate([data[0], data[1]]), collate([data[2], data[3]])])
    m = module(NO_FLOW, start_share=0.0, frame=FRAME)
    values = logged(m, monkeypatch)
    m.training_step(FramedClip(clips, windows), 0).backward()
    beside = values["train/frame"]
    head = m.frame_head
    assert head is not None
    torch.manual_seed(0)
    with torch.no_grad():
        frames = windows.frames.flatten(0, 1)
        labels = JointLabels(*(v.flatten(0, 1) for v in windows.labels))
        alone = head.losses(head(m.network.encoder.maps(frames, None)), labels)
    # Batch statistics are those of the four windows in both.
    assert beside == pytest.approx(float(sum(alone.values())), rel=1e-4)


def test_thirty_steps_teach_the_frame_head_and_only_with_it(clips: Clip) -> None:
    m = module(NO_FLOW, start_share=0.0, frame=FRAME)
    optimizer = m.configure_optimizers()["optimizer"]
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert m.frame_head is not None and all(id(p) in held for p in m.frame_head.parameters())
    m.log = m.log_dict = lambda *_, **__: None
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        total = m.training_step(clips, 0)
        total.backward()
        for group in optimizer.param_groups:
            group["lr"] = 3e-3
        optimizer.step()
        maps = m.network(clips.frames, None, clips.crop).maps
        losses.append(float(m._frame_losses(clips, maps)["frame"]))
    assert losses[-1] < 0.7 * losses[0]


def test_the_parity_variant_has_no_frame_head() -> None:
    config = ShapeNetConfig(variant="parity", encoder="resnet18", width=4, grid=1, hidden=32, size=64)
    with pytest.raises(ShapeError, match="fixed variant"):
        module(config, FlowEstimator(random_flownet()), frame=FRAME)


def test_helpers_follow_to_another_device_as_copies() -> None:
    estimator = FlowEstimator(random_flownet())
    m = module(SHAPE, estimator, frame=FRAME)
    same = m.helpers.on(torch.device("cpu"), SMPL_SKELETON)
    assert same is m.helpers
    moved = m.helpers.on(torch.device("meta"), SMPL_SKELETON)
    assert moved.body.v_template.device.type == "meta" and moved.flow is not None
    assert next(moved.flow.network.parameters()).device.type == moved.flow.device.type == "meta"
    found = moved.frame_joints
    assert found is not None
    where = torch.zeros(1, 24, 3, 3, device="meta"), torch.zeros(1, 10, device="meta")
    assert found(*where, torch.zeros(1, 3, device="meta")).device.type == "meta"
    assert open_body().v_template.device.type == next(estimator.network.parameters()).device.type == "cpu"
