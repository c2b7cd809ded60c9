"""The generator: same seed, same bytes; render times follow the motion; bad settings are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from eventhpe.body.default import open_body
from eventhpe.body.posing import BodyPoser
from eventhpe.data.generator import Generator, GeneratorConfig
from eventhpe.data.labels import Labels, read_labels
from eventhpe.data.presets import Job, make_recording, run_plan
from eventhpe.data.scene import SceneRanges
from eventhpe.errors import MissingAssetError, ShapeError
from eventhpe.events.open import open_recording
from eventhpe.geometry.rotation import interpolate_rotvec


def datasets(path: Path) -> dict[str, bytes]:
    """Bytes of every dataset of a file, by name."""
    out: dict[str, bytes] = {}
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(
            lambda name, item: (
                out.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None
            )
        )
        out["provenance"] = str(file.attrs["provenance"]).encode()
    return out


def test_same_seed_same_bytes_at_one_and_two_workers(tmp_path, tiny_config, recordings):
    def jobs(folder: str) -> list[Job]:
        return [Job(tmp_path / folder / f"{k:05d}.h5", tiny_config, 5, k) for k in range(2)]

    for workers in (1, 2):
        running = run_plan(jobs(str(workers)), workers=workers)
        assert len(running) == 2
        facts = list(running)
        assert {Path(f["output"]).name for f in facts} == {"00000.h5", "00001.h5"}
        assert all(f["num_events"] > 100 for f in facts)
    for name in ("00000.h5", "00001.h5"):
        first = datasets(recordings / name)
        assert {
            "events/t",
            "events/p",
            "labels/joints3d",
            "labels/flow/uv",
            "labels/mask",
            "frames/data",
        } <= set(first)
        assert datasets(tmp_path / "1" / name) == first
        assert datasets(tmp_path / "2" / name) == first


def test_another_seed_or_index_gives_another_recording(tmp_path, generator, recordings):
    generator.make(tmp_path / "seed.h5", seed=6, index=0)
    first, index, seed = (
        datasets(p) for p in (recordings / "00000.h5", recordings / "00001.h5", tmp_path / "seed.h5")
    )
    for other in (index, seed):
        assert other["events/t"] != first["events/t"]
        assert other["labels/global_orient"] != first["labels/global_orient"]
        assert other["labels/betas"] != first["labels/betas"]


def test_a_recording_holds_events_frames_and_its_origin(recordings):
    path = recordings / "00002.h5"
    with open_recording(path) as recording:
        assert recording.sensor_size == (64, 64)
        events = recording.read()
        assert len(events) > 200 and 0 <= events.t[0] and events.t[-1] < 300_000
        assert set(np.unique(events.p)) == {0, 1}
        frames = recording.frames
        assert frames is not None and frames.t_us.tolist() == list(range(0, 300_001, 50_000))
        assert frames[0].shape == (64, 64) and np.ptp(frames[0]) > 5
    with h5py.File(path, "r", locking=False) as file:
        provenance = json.loads(file.attrs["provenance"])
        masks = file["labels/mask"][:].astype(bool)
    assert provenance["seed"] == 5 and provenance["index"] == 2
    assert provenance["motion"].startswith("procedural:")
    assert provenance["config"]["duration_s"] == 0.3 and provenance["sensor_model"]["threshold_on"] > 0
    assert 0 < masks.mean() < 0.6


def test_the_person_makes_the_events(jacks):
    with open_recording(jacks) as recording, h5py.File(jacks, "r", locking=False) as file:
        events, masks = recording.read(), file["labels/mask"][:].astype(bool)
    anywhere = masks.any(axis=0)
    on_person = anywhere[events.y, events.x].mean()
    assert on_person > 2 * anywhere.mean(), "events lie where the person moves"


def test_a_named_movement_and_a_clip_are_used(tmp_path, generator, write_bvh):
    clip = write_bvh(tmp_path / "cmu13_swing.bvh")
    for name, options in (("squat", {"movement": "squat"}), ("cmu13_swing", {"clip": clip, "speed": 1.0})):
        generator.make(tmp_path / f"{name}.h5", seed=1, **options)
        with h5py.File(tmp_path / f"{name}.h5") as file:
            assert name in json.loads(file.attrs["provenance"])["motion"]


def test_clips_of_held_out_subjects_are_never_drawn_for_training(tmp_path, tiny_config, write_bvh):
    for name in ("cmu14_x", "cmu13_y", "cmu86_z"):
        write_bvh(tmp_path / f"{name}.bvh")
    assert [p.stem for p in Generator(tiny_config, motions=tmp_path).clips] == ["cmu13_y"]
    config = replace(tiny_config, procedural_share=0.0, duration_s=0.1, flow_labels=False)
    make_recording(Job(tmp_path / "out" / "a.h5", config, 1, 0, motions=tmp_path))
    with h5py.File(tmp_path / "out" / "a.h5") as file:
        assert json.loads(file.attrs["provenance"])["motion"].startswith("cmu13_y sha256:")
    with pytest.raises(MissingAssetError, match="nowhere"):
        Generator(tiny_config, motions=tmp_path / "nowhere")


def test_without_flow_labels_there_are_none(tmp_path, tiny_config):
    make_recording(Job(tmp_path / "a.h5", replace(tiny_config, flow_labels=False, duration_s=0.1), 1, 0))
    with h5py.File(tmp_path / "a.h5") as file:
        assert "labels/flow" not in file and "labels/mask" in file


def test_a_failed_recording_leaves_nothing_behind(tmp_path, generator):
    with pytest.raises(ShapeError, match="cartwheel"):
        generator.make(tmp_path / "a.h5", seed=1, movement="cartwheel")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- render times


def moving_labels(labels: Labels, px_per_step: np.ndarray) -> Labels:
    """Labels whose joints shift to the right by so many pixels in each step."""
    shift = np.concatenate([[0.0], np.cumsum(px_per_step)])
    joints2d = np.repeat(labels.joints2d[:1], len(shift), axis=0)
    joints2d[..., 0] += shift[:, None]
    return replace(
        labels, t_us=labels.t_us[: len(shift)], joints2d=joints2d, joints3d=labels.joints3d[: len(shift)]
    )


def test_render_times_contain_the_label_times_and_increase(generator, recordings):
    labels = read_labels(recordings / "00000.h5")
    times = generator.render_times(labels)
    assert times.dtype == np.int64
    assert set(labels.t_us.tolist()) <= set(times.tolist())
    assert (np.diff(times) > 0).all() and times[0] == 0 and times[-1] == labels.t_us[-1]


@pytest.mark.parametrize("limit_px", [0.75, 0.3])
def test_no_joint_moves_more_than_the_limit_between_two_images(tiny_config, jacks, limit_px):
    labels = read_labels(jacks)
    times = Generator(replace(tiny_config, max_motion_px=limit_px)).render_times(labels)
    poser, p = BodyPoser(open_body()), labels.params
    pose = interpolate_rotvec(times, labels.t_us, p.pose)
    transl = np.stack([np.interp(times, labels.t_us, p.transl[:, i]) for i in range(3)], axis=-1)
    joints = np.stack([poser.joints(p.betas[0], pose[k], transl[k]) for k in range(len(times))])
    motion = np.linalg.norm(np.diff(labels.camera.project(joints), axis=0), axis=-1)
    assert motion.max() <= limit_px
    coarse = np.linalg.norm(np.diff(labels.joints2d, axis=0), axis=-1)
    assert coarse.max() > limit_px, "the labels alone would be too coarse"


def test_the_render_rate_adapts_between_its_limits(generator, recordings):
    labels = read_labels(recordings / "00000.h5")
    motion = np.array([0.0, 0.5, 2.0, 4.9, 100.0])
    moving = moving_labels(labels, motion)
    times = generator.render_times(moving)
    counts = np.histogram(times[:-1], bins=moving.t_us)[0]
    # At least 100, at most 1000 images a second; in between 1.2 x motion / 0.75 px, rounded up.
    assert counts.tolist() == [1, 1, 4, 8, 10]


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("duration_s", 0),
        ("duration_s", -1.0),
        ("label_step_us", 0),
        ("max_motion_px", 0.0),
        ("max_fps", -5.0),
        ("min_fps", 0.0),
        ("supersample", 9),
        ("supersample", 0),
        ("frame_step_us", 45_001),
        ("frame_step_us", 25_000),
    ],
)
def test_bad_settings_are_refused_by_name(field, value):
    with pytest.raises(ShapeError, match=field):
        GeneratorConfig(**{field: value})


def test_bad_ranges_are_refused_before_anything_is_made():
    with pytest.raises(ShapeError, match="threshold"):
        GeneratorConfig(ranges=SceneRanges(threshold=(-0.2, 0.4)))
    with pytest.raises(ShapeError, match="sensor_sizes"):
        GeneratorConfig(ranges=SceneRanges(sensor_sizes=()))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"speed": (-1.0, 1.0)}, "speed"),
        ({"speed": (2.0, 1.0)}, "speed"),
        ({"procedural_share": 1.5}, "procedural_share"),
        ({"min_fps": 500.0, "max_fps": 200.0}, "fps"),
        ({"duration_s": 0.004}, "duration_s"),
    ],
)
def test_settings_that_would_fail_later_are_refused_by_name(changes, field):
    with pytest.raises(ShapeError, match=field):
        GeneratorConfig(**changes)
