"""Clips and pairs from both layouts: against the exported truth, and drawn by place alone."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.data.augment import mirror_clip
from eventhpe.data.labels import read_labels
from eventhpe.data.mmhpsd import MMHPSD, ClipPlace
from eventhpe.data.mmhpsd_dataset import (
    WHOLE_IMAGE,
    ClipSamples,
    FlowSamples,
    clip_events,
    make_clip,
    pair_starts,
)
from eventhpe.data.mmhpsd_export import export_mmhpsd
from eventhpe.data.mmhpsd_sequence import MMHPSD_FRAME_US, SequenceSource
from eventhpe.data.sample import Clip, FlowPair, collate
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat
from tests.data.mmhpsd_fixture import (
    AT_ONCE,
    EMPTY,
    FRAME_US,
    LABEL_US,
    SINGLE,
    gray_image,
    labels_of,
    moving_params,
    some_events,
    write_sequence_recording,
)

NAME = "subject03_group1_time1"
PLAIN = ClipSamples(num_windows=4, size_px=256, augment=False)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sequence_recording(tmp_path_factory.mktemp("recording") / "a.h5", labels_of(moving_params()))


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory, recording: Path) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("layouts")
    for layout in ("A", "B"):
        export_mmhpsd(
            base / layout, layout=layout, sequences=[SequenceSource(recording, 3, 1, 1)]  # type: ignore[arg-type]
        )  # fmt: skip
    return {layout: base / layout for layout in ("A", "B")}


def start_of(clip: Clip, recording: Path) -> int:
    """Gray frame at which a clip begins, told by its first joints."""
    joints = read_labels(recording).joints3d[:: FRAME_US // LABEL_US]
    return int(np.abs(joints - clip.joints3d[0].numpy()).sum((1, 2)).argmin())


@pytest.mark.parametrize("layout", ["A", "B"])
def test_a_clip_holds_frames_and_poses_of_its_place(
    roots: dict[str, Path], recording: Path, layout: str
) -> None:
    data, labels = PLAIN.open(roots[layout], 6, 1), read_labels(recording)
    stored = MMHPSD(roots[layout]).sequence(NAME)
    assert len(data) == 6 and data.paths == [roots[layout] / NAME] and data.data.body.model == "open"
    starts = set()
    for i in range(6):
        clip = data[i]
        assert [tuple(v.shape) for v in clip] == [
            (4, 8, 256, 256), (4, 3), (5, 24, 3, 3), (5, 3), (5, 24, 3), (10,),
        ]  # fmt: skip
        assert all(v.dtype == torch.float32 for v in clip)
        start = start_of(clip, recording)
        starts.add(start)
        for step in range(4):
            k = start + 2 * step
            eight = np.concatenate([stored.event_frame(k), stored.event_frame(k + 1)], -1)
            assert np.array_equal(clip.frames[step].numpy(), eight.transpose(2, 0, 1)), "time ascending"
        at = (start + 2 * np.arange(5)) * (FRAME_US // LABEL_US)
        np.testing.assert_allclose(clip.transl, labels.params.transl[at], atol=1e-5)
        np.testing.assert_allclose(clip.joints3d, labels.joints3d[at], atol=1e-5)
        np.testing.assert_allclose(clip.rotmats, rotvec_to_rotmat(labels.params.pose[at]), atol=1e-5)
        np.testing.assert_allclose(clip.betas, labels.params.betas[0], atol=1e-6)
        np.testing.assert_allclose(
            clip.crop, np.tile([(127.5 - 128.2) / 335.86] * 2 + [128 / 335.86], (4, 1)), atol=1e-5
        )
    assert len(starts) > 2


def test_steps_of_more_frames_are_joined_to_eight_bins(roots: dict[str, Path]) -> None:
    stored = MMHPSD(roots["A"]).sequence(NAME)
    place = ClipPlace(stored, 6, 1, 4)
    events, poses = clip_events(place, "binary"), stored.poses(place.pose_frames)
    clip = make_clip(place, poses, events, [WHOLE_IMAGE], size_px=256, kind="binary")
    sixteen = np.concatenate([stored.event_frame(k) for k in range(6, 10)], -1)
    either = sixteen[..., 0::2] | sixteen[..., 1::2]
    assert np.array_equal(clip.frames[0].numpy(), either.transpose(2, 0, 1))


def test_single_events_are_stretched_over_their_interval(roots: dict[str, Path]) -> None:
    stored = MMHPSD(roots["B"]).sequence(NAME)
    events = clip_events(ClipPlace(stored, EMPTY - 1, 2, 2), "counts")
    F, whole = MMHPSD_FRAME_US, some_events()
    for i, k in enumerate((EMPTY - 1, EMPTY, SINGLE, AT_ONCE)):
        part, own = events.between(i * F, (i + 1) * F), whole.between(k * FRAME_US, (k + 1) * FRAME_US)
        assert (
            np.array_equal(part.x, own.x) and np.array_equal(part.y, own.y) and np.array_equal(part.p, own.p)
        )
        if len(own):
            since = (own.t - own.t[0]) / (own.t[-1] - own.t[0] + 1) * F
            np.testing.assert_array_equal(part.t, i * F + np.floor(since))
    counted = replace(PLAIN, kind="counts").open(roots["B"], 1, 1)[0].frames
    assert counted.shape == (4, 8, 256, 256) and 0 < counted.max() <= 1
    assert (counted[:, 0::2].sum() > 0) and (counted[:, 1::2].sum() > 0), "OFF and ON"


def test_kinds_that_a_layout_cannot_give_are_refused(roots: dict[str, Path]) -> None:
    for samples in (replace(PLAIN, kind="counts"), FlowSamples(kind="counts")):
        with pytest.raises(FormatError, match=r"without polarity.*layout B"):
            samples.open(roots["A"], 1, 1)
    with pytest.raises(ShapeError, match="kind must be one of"):
        ClipSamples(kind="voxels")
    with pytest.raises(ShapeError, match="step_frames must be at least 2 for kind 'binary'"):
        ClipSamples(step_frames=1)
    with pytest.raises(ShapeError, match=r"ClipSamples\.num_windows must be at least 1"):
        ClipSamples(num_windows=0)
    with pytest.raises(ShapeError, match=r"FlowSamples\.num_gaps"):
        FlowSamples(num_gaps=0)
    assert ClipSamples(kind="counts", step_frames=1, num_windows=3, size_px=32).open(roots["B"], 1, 1)[0]
    with pytest.raises(MissingAssetError, match="no clip of 64 steps of 2 frames without gaps in the train"):
        replace(PLAIN, num_windows=64).open(roots["A"], 1, 1)
    with pytest.raises(MissingAssetError, match="subjects 1, 2, 7"):
        replace(PLAIN, split="test").open(roots["A"], 1, 1)


def same(a: Clip | FlowPair, b: Clip | FlowPair) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_samples_depend_on_seed_and_place_alone(roots: dict[str, Path]) -> None:
    clips = ClipSamples(num_windows=3, size_px=32, whole_image=False)
    pairs = FlowSamples(size_px=32, num_gaps=4)
    for samples in (clips, pairs):
        data = samples.open(roots["A"], 8, 5)  # type: ignore[attr-defined]
        first = [data[i] for i in range(8)]
        data.close()
        again = pickle.loads(pickle.dumps(data))
        assert all(same(again[i], first[i]) for i in reversed(range(8)))
        again.offset = 3
        assert all(same(again[i], first[3 + i]) for i in range(5)), "goes on where another run stopped"
        other = samples.open(roots["A"], 8, 6)  # type: ignore[attr-defined]
        assert not all(same(other[i], first[i]) for i in range(8))
        assert collate(first)[0].shape[0] == 8
        with pytest.raises(IndexError):
            data[8]


def test_mirrored_clips_are_those_of_a_mirrored_body(roots: dict[str, Path]) -> None:
    """Joints of the mirrored parameters are the mirrored joints, up to the asymmetry of the body."""
    body = open_body()
    data = replace(PLAIN, augment=True, num_windows=2, size_px=16).open(roots["A"], 12, 2)
    mirrored = 0
    for i in range(12):
        clip = data[i]
        joints = body.joints(clip.rotmats, clip.betas, clip.transl)
        np.testing.assert_allclose(joints, clip.joints3d, atol=3e-3)
        mirrored += int(clip.transl[-1, 0] < clip.transl[0, 0])  # the person walks to +x
        np.testing.assert_allclose(joints[:, 0], clip.joints3d[:, 0], atol=1e-5)  # the pelvis, exactly
    assert 0 < mirrored < 12
    plain = PLAIN.open(roots["A"], 1, 1)[0]
    x = float(plain.joints3d[0, 0, 0] - plain.transl[0, 0])
    assert x == pytest.approx(float(body.rest_joints(plain.betas)[0, 0]), abs=1e-5)
    for twice, once in zip(mirror_clip(mirror_clip(plain, x), x), plain, strict=True):
        torch.testing.assert_close(twice, once)


def test_crops_follow_the_person(roots: dict[str, Path]) -> None:
    base = replace(PLAIN, whole_image=False, size_px=64)
    steady, moving = (replace(base, steady_crop=s).open(roots["A"], 4, 3) for s in (True, False))
    for i in range(4):
        assert torch.equal(steady[i].crop, steady[i].crop[:1].expand(4, 3))
        assert not torch.equal(moving[i].crop, moving[i].crop[:1].expand(4, 3))
        joints = steady[i].joints3d[:, 0]
        ray = joints[..., :2] / joints[..., 2:]
        assert ((ray - steady[i].crop[0, :2]).abs() < steady[i].crop[0, 2]).all(), "the pelvis is inside"


def test_pairs_are_gray_images_with_the_events_between_them(roots: dict[str, Path]) -> None:
    stored = MMHPSD(roots["A"]).sequence(NAME)
    data = FlowSamples(size_px=256, augment=False).open(roots["A"], 5, 1)
    for i in range(5):
        pair = data[i]
        k = round((float(pair.image0[0, 0]) - 60) / 5)
        assert np.abs(pair.image0.numpy() - gray_image(k)).max() <= 3
        assert np.abs(pair.image1.numpy() - gray_image(k + 2)).max() <= 3
        eight = np.concatenate([stored.event_frame(k), stored.event_frame(k + 1)], -1)
        assert np.array_equal(pair.frames.numpy(), eight.transpose(2, 0, 1))
        assert not pair.flow.any() and not pair.valid.any(), "true flow is unknown"
    assert pair_starts(stored, 2) == list(range(17))
    augmented = FlowSamples(size_px=64).open(roots["A"], 5, 1)
    assert len({tuple(augmented[i].image0[::20, ::20].ravel().tolist()) for i in range(5)}) == 5


def test_longer_pairs_are_drawn_by_their_events(
    roots: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = FlowSamples(size_px=16, num_gaps=4).open(roots["A"], 1, 1)
    stored = MMHPSD(roots["A"]).sequence(NAME)
    monkeypatch.setattr(stored, "event_frame", cache(stored.event_frame))
    counts = [int(stored.event_frame(k).sum() + stored.event_frame(k + 1).sum()) for k in (8, 10, 12, 14)]
    rng = np.random.default_rng(0)
    drawn = np.bincount([data._draw_gaps(stored, 8, rng) for _ in range(800)], minlength=5)[1:]
    np.testing.assert_allclose(drawn / 800, np.array(counts) / sum(counts), atol=0.06)
    assert {data._draw_gaps(stored, 16, rng) for _ in range(20)} == {1}, "the sequence ends"
