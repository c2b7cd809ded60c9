"""Crops for jigsaw puzzles: the person is in them, counts are those of the patches, draws by index alone."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe.data.crops import SquareCrop
from eventhpe.data.jigsaw_samples import (
    JigsawDataset,
    JigsawSamples,
    event_files,
    patch_counts,
    person_crop,
    thin_pixels,
)
from eventhpe.data.labels import read_labels
from eventhpe.data.sample import collate
from eventhpe.data.windows import WINDOW_US
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.events.open import open_recording
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events
from eventhpe.shapenet.hsjp import HSJPConfig, HSJPNet, make_puzzle
from eventhpe.shapenet.jigsaw import live_patches


def draw(path: Path, length: int = 6, seed: int = 1, **changes) -> JigsawDataset:
    options = {"size_px": 64, "rows": 2, "columns": 2, "window_us": (20_000, 80_000)} | changes
    return JigsawSamples(**options).open(path, length, seed)


def some_events(n: int = 2000, size: tuple[int, int] = (64, 64)) -> Events:
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 50_000, n))
    return Events.from_columns(
        t, rng.integers(0, size[1], n), rng.integers(0, size[0], n), rng.integers(0, 2, n), size
    )


def test_samples(jacks):
    data = draw(jacks, 8)
    batch = collate([data[k] for k in range(8)])
    assert batch.frames.shape == (8, 8, 64, 64) and batch.counts.shape == (8, 4)
    assert batch.counts.dtype == torch.int64 and 0 < batch.frames.max() <= 1
    assert (live_patches(batch.counts).sum(1) >= 2).all(), "half of the patches are live"
    occupied = (batch.frames.amax(1) > 0).view(8, 2, 32, 2, 32).any((2, 4)).flatten(1)
    assert torch.equal(occupied, batch.counts > 0), "counts are those of the patches seen, mirrored or not"


def test_equal_index_equal_sample_in_any_order_and_process(jacks):
    def same(a, b):
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))

    first = [draw(jacks)[k] for k in range(3)]
    other = draw(jacks)
    for k in (2, 0, 1):
        assert same(other[k], first[k])
    assert same(pickle.loads(pickle.dumps(other))[1], first[1])
    assert not same(first[0], first[1]) and not same(draw(jacks, seed=2)[0], first[0])
    other.offset = 1
    other.close()
    assert same(other[1], first[2])
    with pytest.raises(IndexError):
        other[6]


def test_the_crop_holds_the_person(jacks):
    labels = read_labels(jacks)
    with open_recording(jacks) as recording:
        events = recording.read()
    crop = person_crop(events, 0, 6 * WINDOW_US, None)
    assert crop is not None
    uv = labels.joints2d[labels.index(6 * WINDOW_US)]
    placed = crop.place(uv, 1)
    assert (np.abs(placed) < 0.5).all(-1).mean() > 0.9
    assert crop.side < 1.8 * np.ptp(uv, axis=0).max()
    varied = [person_crop(events, 0, 6 * WINDOW_US, np.random.default_rng(k)) for k in range(4)]
    assert len({c.side for c in varied if c is not None}) == 4
    assert person_crop(Events.empty((128, 128)), 0, 100_000, None) is None


@pytest.mark.parametrize("crop", [SquareCrop(0, 0, 64), SquareCrop(10.5, -3, 30)])
def test_patch_counts(crop):
    events = some_events()
    counts = patch_counts(events, crop, t0_us=10_000, t1_us=40_000, size_px=48, grid=(3, 4))
    inside = events.between(10_000, 40_000)
    u, v = crop.place(np.stack([inside.x, inside.y], -1), 1).T
    keep = (u >= -0.5) & (u < 0.5) & (v >= -0.5) & (v < 0.5)
    rows, columns = np.floor((v[keep] + 0.5) * 3).astype(int), np.floor((u[keep] + 0.5) * 4).astype(int)
    expected = np.zeros((3, 4), int)
    np.add.at(expected, (rows, columns), 1)
    # Enlarged crops spread an event over the area of its pixel, which may lie in two patches.
    assert counts.sum() == pytest.approx(expected.sum(), abs=4)
    assert np.abs(counts - expected).max() <= (0 if crop.side >= 48 else 0.35 * expected.max())


def test_pixels_fall_silent_and_polarity_turns_for_all_events():
    events = some_events(6000)
    seen = set()
    for seed in range(12):
        out = thin_pixels(events, np.random.default_rng(seed), 0.5)
        kept = np.isin(events.t * 10_000 + events.y * 100 + events.x, out.t * 10_000 + out.y * 100 + out.x)
        pixels = {(x, y) for x, y in zip(out.x, out.y, strict=True)}
        gone = {(x, y) for x, y in zip(events.x[~kept], events.y[~kept], strict=True)}
        assert not pixels & gone, "a pixel is silent or not"
        assert 0.4 < len(out) / len(events) <= 1.0
        swapped = out.p != events.p[kept]
        assert swapped.all() or not swapped.any()
        seen.add(bool(swapped.all()))
    assert seen == {True, False}


def test_any_recording_under_a_folder_counts(jacks, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.h5").write_bytes(jacks.read_bytes())
    (tmp_path / "notes.md").write_text("not a recording")
    (tmp_path / "empty.h5").touch()
    with open_recording(jacks) as recording:
        events = recording.read()
    rows = np.stack([events.t * 1e-6, events.x, events.y, events.p], -1)
    np.savetxt(tmp_path / "b.txt", rows, fmt=["%.6f", "%d", "%d", "%d"])
    assert [p.name for p in event_files(tmp_path)] == ["b.txt", "a.h5"]
    assert event_files(jacks) == [jacks]
    assert draw(tmp_path / "deep")[0].frames.any()


def test_folders_without_recordings_or_people(tmp_path):
    (tmp_path / "notes.md").write_text("nothing")
    with pytest.raises(MissingAssetError, match="none of 1 files is an event recording"):
        draw(tmp_path)
    with pytest.raises(MissingAssetError, match="nowhere"):
        draw(tmp_path / "nowhere")
    quiet = tmp_path / "quiet.h5"
    with StoreWriter(quiet, (64, 64), provenance={}, duration_us=400_000) as writer:
        writer.append(some_events(50))
    with pytest.raises(FormatError, match="found no moving person in 60 draws from 1 recordings"):
        draw(quiet)[0]


def test_samples_make_puzzles(jacks):
    config = HSJPConfig(size=64, rows=2, columns=2, width=8, channels=16)
    data = draw(jacks, 3)
    batch = collate([data[k] for k in range(3)])
    puzzle = make_puzzle(batch.frames, batch.counts, config, generator=torch.Generator().manual_seed(0))
    assert torch.equal(puzzle.live, live_patches(batch.counts)) and puzzle.frames.shape == batch.frames.shape
    with torch.no_grad():
        torch.manual_seed(0)
        net = HSJPNet(config)
        loss = net.losses(net(puzzle.frames), puzzle)["jigsaw"]
    assert torch.isfinite(loss) and loss > 0


@pytest.mark.parametrize(
    "changes", [
        {"size_px": 65}, {"rows": 3}, {"columns": 0}, {"kind": "voxels"}, {"window_us": (0, 10)},
        {"window_us": (50_000, 20_000)}, {"dropout": 1.0}, {"live_share": -0.1},
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(changes):
    with pytest.raises(ShapeError, match=next(iter(changes))):
        replace(JigsawSamples(size_px=64), **changes)
