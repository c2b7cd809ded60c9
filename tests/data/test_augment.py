"""Random changes that move events, body and camera together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.body.model import pose_rotmats
from eventhpe.data.augment import jitter_events, mirror_clip, random_crop
from eventhpe.data.labels import read_labels
from eventhpe.data.sample import Clip
from eventhpe.events.types import Events


@pytest.fixture(scope="module")
def pelvis_x() -> float:
    return float(open_body().rest_joints(torch.zeros(1, 10))[0, 0, 0])


@pytest.fixture
def clip(jacks) -> Clip:
    """Three windows of the jumping jack with made-up frames."""
    labels = read_labels(jacks)
    ks = [0, 5, 10, 15]
    with torch.no_grad():
        return Clip(
            frames=torch.rand(3, 8, 16, 16, generator=torch.Generator().manual_seed(0)),
            crop=torch.tensor([[0.1, 0.02, 0.3], [-0.05, 0.0, 0.3], [0.2, -0.1, 0.25]]),
            rotmats=pose_rotmats(labels.params)[ks].float(),
            transl=torch.tensor(labels.params.transl[ks]).float(),
            joints3d=torch.tensor(labels.joints3d[ks]),
            betas=torch.tensor(labels.params.betas[0]).float(),
        )


def test_mirroring_twice_changes_nothing(clip, pelvis_x):
    once = mirror_clip(clip, pelvis_x)
    twice = mirror_clip(once, pelvis_x)
    for name in Clip._fields:
        torch.testing.assert_close(getattr(twice, name), getattr(clip, name), atol=1e-6, rtol=0, msg=name)
        if name != "betas":
            assert not torch.allclose(getattr(once, name), getattr(clip, name), atol=1e-3), name


def test_mirroring_leaves_its_input_alone(clip, pelvis_x):
    before = Clip(*(v.clone() for v in clip))
    mirror_clip(clip, pelvis_x)
    assert all(torch.equal(a, b) for a, b in zip(clip, before, strict=True))


def test_the_mirrored_body_has_the_mirrored_joints(clip, pelvis_x):
    body = open_body()
    with torch.no_grad():
        plain = body.joints(clip.rotmats, clip.betas, clip.transl)
        torch.testing.assert_close(plain, clip.joints3d, atol=1e-4, rtol=0)
        once = mirror_clip(clip, pelvis_x)
        posed = body.joints(once.rotmats, once.betas, once.transl)
    error = (posed - once.joints3d).norm(dim=-1)
    assert error.max() < 0.010 and error.mean() < 0.004, "the body's joints are symmetric to 3 mm"
    torch.testing.assert_close(torch.linalg.det(once.rotmats), torch.ones(4, 24), atol=1e-5, rtol=0)
    # Left hand and right hand have changed places.
    torch.testing.assert_close(once.joints3d[:, 22], clip.joints3d[:, 23] * torch.tensor([-1.0, 1, 1]))


def test_a_body_whose_pelvis_is_off_the_middle_is_mirrored_too():
    x = 0.3
    clip = Clip(
        torch.rand(1, 8, 4, 4), torch.rand(1, 3), torch.eye(3).expand(2, 24, 3, 3),
        torch.tensor([[0.5, 0, 3.0]] * 2), torch.zeros(2, 24, 3), torch.zeros(10),
    )  # fmt: skip
    pelvis = clip.transl + torch.tensor([x, 0, 0])
    mirrored = mirror_clip(clip, x).transl + torch.tensor([x, 0, 0])
    torch.testing.assert_close(mirrored, pelvis * torch.tensor([-1.0, 1, 1]))


def test_mirrored_columns_and_ray(clip, pelvis_x):
    once = mirror_clip(clip, pelvis_x)
    assert torch.equal(once.frames[..., 0], clip.frames[..., -1])
    assert torch.equal(once.frames[..., 3, :], clip.frames[..., 3, :].flip(-1))
    assert torch.equal(once.crop, clip.crop * torch.tensor([-1.0, 1.0, 1.0]))


def some_events(n: int = 2000) -> Events:
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(5_000, 45_000, n))
    return Events.from_columns(
        t, rng.integers(0, 50, n), rng.integers(0, 30, n), rng.integers(0, 2, n), (30, 50)
    )


def test_jittered_events_stay_sorted_and_on_the_sensor():
    events = some_events()
    before = [getattr(events, c).copy() for c in "txyp"]
    sizes, flipped = set(), 0
    for seed in range(60):
        out = jitter_events(events, np.random.default_rng(seed))
        Events.from_columns(out.t, out.x, out.y, out.p, (30, 50))  # checks order, sensor and polarity
        assert out.sensor_size == (30, 50)
        assert 0.45 * 2000 < len(out) < 1.16 * 2000
        assert out.t[0] >= events.t[0] and out.t[-1] <= events.t[-1], "no event leaves the time span"
        sizes.add(len(out))
        flipped += len(out) == 2000 and bool((out.p != events.p).all())
        again = jitter_events(events, np.random.default_rng(seed))
        assert all(np.array_equal(getattr(out, c), getattr(again, c)) for c in "txyp")
    assert min(sizes) < 1900 and max(sizes) > 2020 and flipped > 0, "it drops, adds and swaps"
    assert all(np.array_equal(getattr(events, c), b) for c, b in zip("txyp", before, strict=True))


@pytest.mark.parametrize("n", [0, 1])
def test_jitter_copes_with_hardly_any_events(n):
    events = some_events(2000).slice(0, n)
    for seed in range(20):
        assert len(jitter_events(events, np.random.default_rng(seed))) <= n


def test_random_crops_hold_the_person_but_for_a_share():
    rng = np.random.default_rng(0)
    joints = rng.uniform([40, 20], [80, 110], (6, 24, 2))
    joints[0, 0] = np.nan
    before = joints.copy()
    crops = [random_crop(joints, rng) for _ in range(300)]
    finite = joints[np.isfinite(joints).all(axis=-1)] + 0.5
    held = []
    for crop in crops:
        inside = (finite >= [crop.left, crop.top]) & (finite < [crop.left + crop.side, crop.top + crop.side])
        held.append(inside.all(axis=-1).mean())
        middle = [crop.left + crop.side / 2, crop.top + crop.side / 2]
        assert np.abs(np.array(middle) - [60.5, 65.5]).max() < 0.12 * crop.side + 2
    assert np.mean(held) > 0.95, "the person is in the crop"
    sides = np.array([c.side for c in crops]) / np.ptp(finite[:, 1])
    assert 0.59 < sides.min() < 0.95 and 1.4 < sides.max() < 1.61
    assert 0.04 < (sides <= 1.0).mean() < 0.22, "about 12 % are too small"
    assert np.array_equal(joints, before, equal_nan=True)


def test_no_crop_is_too_small_when_told_so():
    joints = np.random.default_rng(1).uniform(20, 90, (2, 24, 2))
    longest = np.ptp(joints.reshape(-1, 2), axis=0).max()
    rng = np.random.default_rng(2)
    assert min(random_crop(joints, rng, cut_share=0.0).side for _ in range(100)) >= 1.1 * longest - 1e-9
