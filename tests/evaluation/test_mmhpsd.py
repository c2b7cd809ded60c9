"""Protocols of MMHPSD: what is scored, what is told about the start, how it is averaged; and the networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from eventhpe.body.default import open_body
from eventhpe.body.params import BodyParams
from eventhpe.body.posing import BodyPoser
from eventhpe.data.mmhpsd import MMHPSD
from eventhpe.data.mmhpsd_export import export_mmhpsd
from eventhpe.data.mmhpsd_sequence import MMHPSD_CAMERA, SequenceSource
from eventhpe.data.mmhpsd_stored import BodySource
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.evaluation.metrics import pck_torso, pckh
from eventhpe.evaluation.mmhpsd import (
    METRICS,
    PROTOCOLS,
    ClipScorer,
    ClipTask,
    MMHPSDProtocol,
    body_for,
    evaluate_mmhpsd,
)
from eventhpe.evaluation.mmhpsd_networks import ShapeNetOnClips, person_crops
from eventhpe.events.types import Events
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.shapenet.network import build_shapenet
from eventhpe.shapenet.state import ShapeNetConfig
from tests.data.mmhpsd_fixture import EMPTY, labels_of, moving_params, write_sequence_recording
from tests.small_world import random_flownet

LONG, SHORT = "subject01_group1_time1", "subject07_group1_time1"
TWO = MMHPSDProtocol("two steps", 2, disjoint=True)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("layouts")
    path = write_sequence_recording(base / "a.h5", labels_of(moving_params()))
    sources = [SequenceSource(path, 1, 1, 1), SequenceSource(path, 7, 1, 1, missing=(9, 12))]
    for layout in ("A", "B"):
        export_mmhpsd(base / layout, layout=layout, sequences=sources)  # type: ignore[arg-type]
    return {layout: base / layout for layout in ("A", "B")}


@pytest.fixture(scope="module")
def data(roots: dict[str, Path]) -> MMHPSD:
    return MMHPSD(roots["A"])


def truth(task: ClipTask) -> BodyParams:
    return task.place.sequence.poses(task.place.pose_frames[1:]).params


def moved(task: ClipTask) -> BodyParams:
    p = truth(task)
    return replace(p, transl=p.transl + np.array([0.03, 0.0, 0.04]))


def fatter(task: ClipTask) -> BodyParams:
    p = truth(task)
    return replace(p, betas=p.betas + 1.0)


def test_the_truth_has_no_error_and_a_shift_only_an_absolute_one(data: MMHPSD) -> None:
    seen: list[str] = []
    results = evaluate_mmhpsd(
        data, {"truth": truth, "moved": moved, "fatter": fatter}, body_for(data), TWO, start="none",
        on_sequence=lambda name, scores: seen.append(name),
    )  # fmt: skip
    assert seen == [LONG, SHORT] and list(results[LONG]) == ["truth", "moved", "fatter"]
    assert set(results[LONG]["truth"]) == {*METRICS, "frames"}
    for scores in results.values():
        for metric, value in scores["truth"].items():
            if metric != "frames":
                assert value == pytest.approx(1.0 if metric.startswith("pck") else 0.0, abs=2e-3), metric
        shifted = scores["moved"]
        assert shifted["mpjpe_mm"] == pytest.approx(50, abs=1e-2) == shifted["pve_mm"]
        for metric in ("pel_mpjpe_mm", "pa_mpjpe_mm", "pel_pve_mm", "pa_pve_mm"):
            assert shifted[metric] == pytest.approx(0, abs=2e-3), metric
        assert shifted["px_256"] > 1
        assert scores["fatter"]["pve_mm"] > 5 and scores["fatter"]["pa_pve_mm"] > 1, "a wrong shape shows"


def test_clips_of_the_protocols(data: MMHPSD) -> None:
    """19 frames, two poses missing in one sequence: clips at every frame, and clips that share none."""
    results = evaluate_mmhpsd(data, {"x": truth}, body_for(data), PROTOCOLS["eventhpe"], start="none")
    assert {name: s["x"]["frames"] for name, s in results.items()} == {LONG: 3 * 8}
    results = evaluate_mmhpsd(data, {"x": truth}, body_for(data), PROTOCOLS["tracker-8"], start="none")
    assert results[LONG]["x"]["frames"] == 8
    results = evaluate_mmhpsd(data, {"x": truth}, body_for(data), TWO, start="none")
    assert {name: s["x"]["frames"] for name, s in results.items()} == {LONG: 4 * 2, SHORT: 3 * 2}
    with pytest.raises(MissingAssetError, match="no clip of 64 steps"):
        evaluate_mmhpsd(data, {"x": truth}, body_for(data), PROTOCOLS["tracker-64"], start="none")
    assert [PROTOCOLS[n].num_steps for n in ("eventhpe", "tracker-8", "tracker-64")] == [8, 8, 64]
    assert [p.disjoint for p in PROTOCOLS.values()] == [False, True, True]
    assert PROTOCOLS["eventhpe"].seconds == pytest.approx(1.067, abs=1e-3)
    with pytest.raises(ShapeError, match="num_steps"):
        MMHPSDProtocol("x", 0)


def test_what_is_told_about_the_start(data: MMHPSD, roots: dict[str, Path]) -> None:
    starts: dict[str, list[BodyParams | None]] = {"true": [], "image": [], "none": []}
    tables = {}
    for start, seen in starts.items():

        def watch(task: ClipTask, seen: list[BodyParams | None] = seen) -> BodyParams:
            seen.append(task.start)
            return truth(task)

        tables[start] = evaluate_mmhpsd(
            data, {"watch": watch}, body_for(data), TWO, start=start  # type: ignore[arg-type]
        )  # fmt: skip
    places = data.clips("test", num_steps=2, disjoint=True)
    assert starts["none"] == [None] * len(places) and "start pose held" not in tables["none"][LONG]
    for place, true, image in zip(places, starts["true"], starts["image"], strict=True):
        assert true is not None and image is not None
        stored = place.sequence.poses([place.start]).params
        assert np.array_equal(true.pose, stored.pose[0]) and np.array_equal(true.transl, stored.transl[0])
        assert np.array_equal(image.pose, place.sequence.estimate(place.start).params.pose)
    held = {start: tables[start][LONG]["start pose held"]["pel_mpjpe_mm"] for start in ("true", "image")}
    assert 1 < held["true"] < held["image"], "people move; an estimate errs besides"
    with pytest.raises(FormatError, match="without estimates from pictures"):
        evaluate_mmhpsd(MMHPSD(roots["B"]), {"x": truth}, open_body(), TWO, start="image")
    with pytest.raises(FormatError, match="start must be one of true, image, none"):
        evaluate_mmhpsd(data, {"x": truth}, open_body(), TWO, start="gt")  # type: ignore[arg-type]
    with pytest.raises(MissingAssetError, match="body model"):
        evaluate_mmhpsd(data, {"x": truth}, None, TWO, start="none")


def test_estimates_of_another_body_or_length_are_refused(data: MMHPSD) -> None:
    place = data.clips("test", num_steps=2)[0]
    poses = place.sequence.poses(place.pose_frames)
    with pytest.raises(ShapeError, match=r"must hold 2 poses; got \(3,\)"):
        ClipScorer(open_body()).score(poses.params, poses)
    right = place.sequence.poses(place.pose_frames[1:]).params
    with pytest.raises(ShapeError, match="never mix"):
        ClipScorer(open_body()).score(replace(right, model="smpl"), poses)
    one = data.clips("test", num_steps=1)[0]
    single = one.sequence.poses(one.pose_frames)
    scores = ClipScorer(open_body()).score(one.sequence.poses(one.pose_frames[1:]).params, single)
    assert scores["accel_mm"].size == 0 and scores["mpjpe_mm"].shape == (1,)


def test_real_sets_need_the_users_smpl(roots: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENTHPE_HOME", raising=False)
    data = MMHPSD(roots["B"])
    assert body_for(data).name == "open"
    monkeypatch.setattr(data, "body", BodySource())
    with pytest.raises(MissingAssetError, match=r"SMPL model \(male\)"):
        body_for(data)


def test_pckh_and_torso() -> None:
    true = np.random.default_rng(0).normal(size=(3, 24, 3))
    true[:, 12], true[:, 15], true[:, 0] = [0, 0.5, 0], [0, 0.6, 0], [0, 0.0, 0]
    pred = true.copy()
    pred[:, 20:24, 0] += [0.099, 0.101, 0.2, 0.0]  # 100 mm: half of twice the 100 mm from neck to head
    np.testing.assert_allclose(pckh(pred, true), 22 / 24)
    np.testing.assert_allclose(pckh(pred, true, share=1.1), 1.0)
    np.testing.assert_allclose(pck_torso(pred, true), 22 / 24)  # 0.2 of 500 mm
    np.testing.assert_allclose(pck_torso(pred, true, share=0.1), 21 / 24)
    np.testing.assert_allclose(pckh(pred + 5.0, true), 22 / 24)


PARITY = ShapeNetConfig(
    variant="parity", encoder="resnet18", width=4, grid=1, hidden=32, size=64, use_flow=False
)  # fmt: skip


def test_a_parity_network_that_changes_nothing_holds_the_start(data: MMHPSD) -> None:
    network = build_shapenet(PARITY)
    with torch.no_grad():
        for head in (network.head_pose, network.head_transl):
            head.weight.zero_()
            head.bias.zero_()
        network.head_pose.bias.copy_(identity_steps())
    system = ShapeNetOnClips(network, None, data.body)  # type: ignore[arg-type]
    assert system.crop == "image" and system.window_ms == pytest.approx(133.3, abs=0.1)
    estimate = system.estimate
    results = evaluate_mmhpsd(data, {"network": estimate}, body_for(data), TWO, start="true")
    for scores in results.values():
        for metric in METRICS:
            assert scores["network"][metric] == pytest.approx(scores["start pose held"][metric], rel=1e-3)
    with pytest.raises(ShapeError, match="start"):
        evaluate_mmhpsd(data, {"network": estimate}, body_for(data), TWO, start="none")
    odd = data.clips("test", num_steps=2, step_frames=3)[0]
    with pytest.raises(ShapeError, match="steps of 3 frames hold no whole number of this network's windows"):
        estimate(ClipTask(odd, None))
    with pytest.raises(ShapeError, match="must stand still"):
        ShapeNetOnClips(network, None, data.body, crop="person")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="only the fixed variant"):
        system.mean_pose(ClipTask(odd, None))


def identity_steps() -> torch.Tensor:
    """(144,) six numbers per joint that turn nothing."""
    from eventhpe.geometry.rotation import rotmat_to_sixd

    return rotmat_to_sixd(torch.eye(3)).flatten().repeat(24)


def test_the_fixed_network_sees_counts_and_flow_in_a_crop(roots: dict[str, Path]) -> None:
    data = MMHPSD(roots["B"])
    config = ShapeNetConfig(size=64, width=8, grid=2, hidden=32, crop_features=4)
    torch.manual_seed(0)
    network = build_shapenet(config)
    with pytest.raises(ShapeError, match="give its FlowNet"):
        ShapeNetOnClips(network, None, data.body)  # type: ignore[arg-type]
    flow = FlowEstimator(random_flownet())
    estimate = ShapeNetOnClips(network, flow, data.body, crop="true-box").estimate  # type: ignore[arg-type]
    place = data.clips("test", num_steps=2)[0]
    free = estimate(ClipTask(place, None))
    assert free.transl.shape == (2, 3) and free.model == "open" and free.frame == "camera"
    start = place.sequence.poses([place.start]).params
    first = replace(
        start, betas=start.betas[0], global_orient=start.global_orient[0], body_pose=start.body_pose[0],
        transl=start.transl[0],
    )  # fmt: skip
    told = estimate(ClipTask(place, first))

    def turn(p: BodyParams) -> float:
        a, b = (Rotation.from_rotvec(np.array(v)) for v in (p.global_orient[0], first.global_orient))
        return float((a.inv() * b).magnitude())

    assert turn(told) < turn(free), "a given start is used"
    np.testing.assert_allclose(told.betas[0], first.betas, atol=1e-5)


def test_the_fixed_network_takes_two_windows_a_step(roots: dict[str, Path]) -> None:
    data = MMHPSD(roots["B"])
    network = build_shapenet(ShapeNetConfig(size=64, width=8, grid=2, hidden=32, use_flow=False))
    seen = []
    network.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    system = ShapeNetOnClips(network, None, data.body, crop="image")  # type: ignore[arg-type]
    place = data.clips("test", num_steps=3, single_events=True)[0]
    estimate = system.estimate(ClipTask(place, None))
    frames, out = seen[0]
    assert frames.shape == (1, 6, 8, 64, 64) and system.window_ms == pytest.approx(66.7, abs=0.1)
    np.testing.assert_allclose(estimate.transl, out.transl[0, [1, 3, 5]].numpy(), rtol=1e-6)
    silent = frames[0].flatten(1).sum(1) == 0
    empty = [EMPTY - place.start == k for k in range(6)]
    assert silent.tolist() == empty, "window k shows the interval after frame k"


def test_the_mean_pose_stands_in_the_middle_of_the_square(roots: dict[str, Path]) -> None:
    data, body = MMHPSD(roots["B"]), open_body()
    network = build_shapenet(ShapeNetConfig(size=64, width=8, grid=2, hidden=32, use_flow=False))
    network.set_body(body.J_template[0], body.J_shapedirs[0])
    system = ShapeNetOnClips(network, None, data.body, crop="image")  # type: ignore[arg-type]
    place = data.clips("test", num_steps=2)[0]
    mean = system.mean_pose(ClipTask(place, None))
    pelvis = BodyPoser(body).joints(mean.betas[1], mean.pose[1], mean.transl[1])[0]
    np.testing.assert_allclose(MMHPSD_CAMERA.project(pelvis[None])[0], [127.5, 127.5], atol=1e-2)
    assert pelvis[2] == pytest.approx(2 * 335.86 / 256, rel=1e-4), "2 m fill the square"
    assert not mean.betas.any()


def test_squares_follow_who_moves() -> None:
    """A patch of 40 x 80 px that moves to the right by 10 px a window, in thin noise."""
    rng = np.random.default_rng(0)
    W, n = 8, 4000
    t = np.sort(rng.integers(0, W * 66_667, W * n))
    x = 60 + 10 * (t // 66_667) + rng.integers(-20, 20, len(t))
    y = 128 + rng.integers(-40, 40, len(t))
    noise = rng.random(len(t)) < 0.05
    x[noise], y[noise] = rng.integers(0, 256, noise.sum()), rng.integers(0, 256, noise.sum())
    events = Events.from_columns(t, x, y, np.ones(len(t), int), (256, 256))
    crops = person_crops(events, W, 66_667)
    middles = np.array([[c.left + c.side / 2, c.top + c.side / 2] for c in crops])
    assert len(crops) == W and np.abs(middles[:, 1] - 128).max() < 10
    for k, crop in enumerate(crops):
        assert crop.left < 40 + 10 * k and crop.left + crop.side > 80 + 10 * k, "the patch is inside"
        assert 80 < crop.side < 200, "and the square is not the whole image"
    nobody = person_crops(Events.from_columns([5], [1], [1], [0], (256, 256)), 3, 66_667)
    assert [(c.left, c.top, c.side) for c in nobody] == [(0, 0, 256)] * 3


def test_single_events_are_asked_for(data: MMHPSD, roots: dict[str, Path]) -> None:
    with pytest.raises(FormatError, match="no single events"):
        evaluate_mmhpsd(data, {"x": truth}, open_body(), TWO, start="none", single_events=True)
    results = evaluate_mmhpsd(
        MMHPSD(roots["B"]), {"x": truth}, open_body(), TWO, start="none", single_events=True
    )
    assert set(results) == {LONG, SHORT}
