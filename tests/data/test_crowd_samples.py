"""Whole images with several people: places and scale of joints, who is to be found, mirror, padding."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe.data.crowd_samples import (
    CrowdDataset,
    CrowdSample,
    CrowdSamples,
    crowd_sample,
    mirror_crowd,
)
from eventhpe.data.labels import read_labels
from eventhpe.data.sample import collate
from eventhpe.data.windows import compress_counts
from eventhpe.errors import ShapeError
from eventhpe.events.frames import polarity_counts
from eventhpe.events.open import open_recording
from eventhpe.geometry.skeleton import DHP19_SKELETON
from eventhpe.shapenet.heads.swahr_targets import check_people, people_heatmaps

PLAIN = {"height": 96, "width": 96, "augment": False, "skeleton": "smpl24"}


def draw(path: Path, length: int = 6, **changes) -> CrowdDataset:
    return CrowdSamples(**(PLAIN | changes)).open(path, length, 1)


def same(a: CrowdSample, b: CrowdSample) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def people(*uv: np.ndarray, size: tuple[int, int] = (64, 96)) -> dict:
    """Arguments of `crowd_sample` for people at these places, all of them on the sensor."""
    places = np.stack(uv)
    inside = ((places >= 0) & (places < np.array(size[::-1]))).all(-1)
    return {
        "frames": np.zeros((8, *size), np.float32), "uv": places, "known": inside,
        "found": np.ones(len(places), bool), "scale": 1.0,
    }  # fmt: skip


def body_at(u: float, v: float, height: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(-0.5, 0.5, (13, 2)) * [0.4 * height, height] + [u, v]


def test_shapes(duo):
    batch = collate(
        [draw(duo[0], skeleton="dhp19_15", height=64, width=128, augment=True)[k] for k in (0, 1)]
    )
    shapes = {field: tuple(getattr(batch, field).shape) for field in CrowdSample._fields}
    assert shapes == {
        "frames": (2, 8, 64, 128), "uv": (2, 4, 15, 2), "known": (2, 4, 15), "labelled": (2, 64, 128),
        "boxes": (2, 4, 4), "scale": (2,),
    }  # fmt: skip
    check_people(batch.labels, joints=15, size=(64, 128))
    assert batch.known[:, :2].any() and not batch.known[:, 2:].any(), "two people, the rest is padding"


def test_without_scaling_the_input_is_the_sensor(duo):
    """96 x 96 pixels: joints keep their places, events their cells."""
    path, _ = duo
    data = draw(path)
    for index in range(3):
        sample, (_, k) = data[index], data.place(index)
        assert sample.scale == 1.0
        everybody = [read_labels(path, i) for i in (0, 1)]
        for labels in everybody:
            uv = labels.joints2d[k]
            m = int((sample.uv - torch.from_numpy(uv)).abs().amax((1, 2)).argmin())
            inside = ((uv >= -0.5) & (uv < 95.5)).all(-1)
            assert sample.known[m].tolist() == inside.tolist()
            np.testing.assert_allclose(sample.uv[m][inside], uv[inside], atol=1e-4)
        t1 = int(everybody[0].t_us[k])
        with open_recording(path) as recording:
            events = recording.between(t1 - 50_000, t1)
        counts = polarity_counts(events, 4, t0_us=t1 - 50_000, t1_us=t1)
        np.testing.assert_allclose(sample.frames, compress_counts(counts), atol=1e-6)


@pytest.mark.parametrize("size", [(192, 192), (64, 128), (128, 64)])
def test_scaled_images_fit_in_the_middle(duo, size):
    """Scale is the same along both axes; events near joints stay near them."""
    sample = draw(duo[0], height=size[0], width=size[1])[0]
    plain = draw(duo[0])[0]
    scale = min(size) / 96
    assert float(sample.scale) == pytest.approx(scale)
    middle = torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])
    where = plain.known
    torch.testing.assert_close(sample.uv[where], (plain.uv[where] - 47.5) * scale + middle, atol=1e-3, rtol=0)
    border = (max(size) - min(size)) // 2
    if border:
        outside = sample.frames[..., :border] if size[1] > size[0] else sample.frames[:, :border]
        assert not outside.any(), "beyond the sensor there is nothing"
    assert sample.frames.any() and sample.labelled.all()
    # Targets drawn from these labels lie on the events.
    maps = people_heatmaps(
        sample.uv[None], sample.known[None], stride=4, size=(size[0] // 4, size[1] // 4), sigma=2.0
    )
    active = torch.nn.functional.avg_pool2d((sample.frames.amax(0) > 0).float()[None], 4)[0]
    on = maps[0].amax(0)
    assert (active * on).sum() / on.sum() > 1.5 * active.mean()


def test_zoom_and_shift_keep_joints_and_events_together(duo):
    """Moving the picture moves both: un-done, they are those of the plain sample."""
    data, plain = draw(duo[0], 10, augment=True, flip_share=0.0, zoom=(0.5, 2.0)), draw(duo[0], 10)
    scales = []
    for k in range(10):
        a, b = data[k], plain[k]
        assert data.place(k) == plain.place(k)
        scales.append(float(a.scale))
        both = a.known & b.known & (a.known.sum(-1) == b.known.sum(-1))[:, None]
        if both.sum() < 4:
            continue
        shift = a.uv[both] - b.uv[both] * a.scale
        assert shift.std(0).max() < 1e-3
    assert 0.5 <= min(scales) < 0.8 and 1.3 < max(scales) <= 2.0


def test_equal_index_equal_sample(duo):
    first = [draw(duo[0], augment=True)[k] for k in range(3)]
    other = draw(duo[0], augment=True)
    for k in (2, 0, 1):
        assert same(other[k], first[k])
    assert same(pickle.loads(pickle.dumps(other))[1], first[1])
    other.offset = 1
    other.close()
    assert same(other[1], first[2]) and len(other) == 6
    with pytest.raises(IndexError):
        other[6]


# ---------------------------------------------------------------- who is to be found


def test_the_largest_are_kept_and_the_others_are_not_labelled():
    small, large, middle = body_at(20, 30, 16), body_at(70, 30, 50), body_at(45, 40, 30)
    sample = crowd_sample(**people(small, large, middle), max_people=2)
    np.testing.assert_allclose(sample.uv[0], large, atol=1e-5)
    np.testing.assert_allclose(sample.uv[1], middle, atol=1e-5)
    assert not sample.labelled[int(small[0, 1]), int(small[0, 0])] and not sample.labelled[30, 20]
    assert sample.labelled[30, 70] and sample.labelled[60, 90]
    x0, y0, x1, y1 = sample.boxes[0].tolist()
    assert x0 <= large[:, 0].min() and x1 >= large[:, 0].max() and y0 <= large[:, 1].min() <= y1
    full = crowd_sample(**people(small, large, middle), max_people=3)
    assert full.labelled.all() and full.known.all()


def test_people_that_are_not_to_be_found_are_left_out():
    hidden, seen = body_at(20, 30, 30), body_at(70, 30, 30)
    given = people(hidden, seen) | {"found": np.array([False, True])}
    sample = crowd_sample(**given, max_people=2)
    assert sample.known[0].all() and not sample.known[1].any() and not sample.boxes[1].any()
    np.testing.assert_allclose(sample.uv[0], seen, atol=1e-5)
    assert not sample.labelled[30, 20] and sample.labelled[30, 70]


def test_nobody_and_somebody_outside():
    away = crowd_sample(**people(body_at(-200, 30, 30)), max_people=2)
    assert not away.known.any() and away.labelled.all() and torch.isfinite(away.uv).all()
    lost = people(body_at(50, 30, 30))
    lost["uv"][0, 3] = np.nan
    lost["known"][0, 3] = False
    sample = crowd_sample(**lost, max_people=1)
    assert sample.known[0].sum() == 12 and not sample.uv[0, 3].any()


def test_hardly_visible_people_are_not_to_be_found(duo):
    data, found = draw(duo[0], 8, min_visible=1.0), set()
    for index in range(8):
        sample, (path, k) = data[index], data.place(index)
        seen = [read_labels(path, i).joints_visible[k].all() for i in (0, 1)]
        assert int(sample.known.any(-1).sum()) == sum(seen)
        assert bool(sample.labelled.all()) == all(seen)
        found.add(sum(seen))
    assert min(found) < 2, "somebody is partly hidden"


# ---------------------------------------------------------------- mirror and options


def test_mirroring_twice_changes_nothing():
    given = people(body_at(20, 30, 20), body_at(70, 30, 40), body_at(50, 30, 10))
    given["frames"] = np.random.default_rng(0).random((8, 64, 96)).astype(np.float32)
    sample = crowd_sample(**given, max_people=2)
    once = mirror_crowd(sample, DHP19_SKELETON)
    for field, a, b in zip(CrowdSample._fields, mirror_crowd(once, DHP19_SKELETON), sample, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0, msg=field)
    left, right = (DHP19_SKELETON.index(f"hand_{side}") for side in ("left", "right"))
    torch.testing.assert_close(once.uv[:, left, 0], 95 - sample.uv[:, right, 0])
    assert torch.equal(once.frames, sample.frames.flip(-1)) and not torch.equal(
        once.labelled, sample.labelled
    )
    assert (once.boxes[:, 0] <= once.boxes[:, 2]).all()


@pytest.mark.parametrize(
    "changes", [
        {"height": 100}, {"width": 0}, {"kind": "voxels"}, {"skeleton": "coco"}, {"zoom": (0.0, 1.0)},
        {"zoom": (2.0, 1.0)}, {"flip_share": 2.0}, {"max_people": 0}, {"min_joints": 0}, {"window_us": 1},
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(changes):
    with pytest.raises(ShapeError, match=next(iter(changes))):
        replace(CrowdSamples(height=64, width=64), **changes)
