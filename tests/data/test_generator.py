"""The generator: same seed, same bytes; motions from where they shall come; bad settings are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from eventhpe.data.cast import Cast
from eventhpe.data.generator import Choice, Generator, GeneratorConfig
from eventhpe.data.labels import num_people, read_labels
from eventhpe.data.motion_library import MotionLibrary
from eventhpe.data.motion_style import StyleRanges
from eventhpe.data.plan import Job, make_recording, run_plan
from eventhpe.data.scene_ranges import SceneRanges
from eventhpe.errors import MissingAssetError, ShapeError
from eventhpe.events.open import open_recording
from tests.data.staging import camera_at


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


def test_same_seed_same_bytes_at_one_and_two_workers(tmp_path, tiny_job, recordings):
    def jobs(folder: str) -> list[Job]:
        return [tiny_job(tmp_path / folder, k) for k in range(2)]

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
            "labels/people/0/joints3d",
            "labels/flow/uv",
            "labels/mask",
            "frames/data",
        } <= set(first)
        assert datasets(tmp_path / "1" / name) == first
        assert datasets(tmp_path / "2" / name) == first


def test_another_seed_or_index_gives_another_recording(tmp_path, generator, recordings):
    generator.make(tmp_path / "seed.h5", seed=6, index=0, choice=Choice(movement="jumping_jack"))
    first, index, seed = (
        datasets(p) for p in (recordings / "00000.h5", recordings / "00001.h5", tmp_path / "seed.h5")
    )
    for other in (index, seed):
        assert other["events/t"] != first["events/t"]
        assert other["labels/people/0/global_orient"] != first["labels/people/0/global_orient"]
        assert other["labels/people/0/betas"] != first["labels/people/0/betas"]


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
    for name, choice in (("squat", Choice(movement="squat")), ("cmu13_swing", Choice(clip=clip))):
        generator.make(tmp_path / f"{name}.h5", seed=1, choice=choice)
        with h5py.File(tmp_path / f"{name}.h5") as file:
            assert name in json.loads(file.attrs["provenance"])["motion"]


def test_clips_of_held_out_subjects_are_never_drawn_for_training(tmp_path, tiny_config, write_bvh):
    for name in ("cmu14_x", "cmu13_y", "cmu86_z"):
        write_bvh(tmp_path / f"{name}.bvh")
    assert [f.path.stem for f in MotionLibrary(tmp_path).files] == ["cmu13_y"]
    config = replace(tiny_config, procedural_share=0.0, duration_s=0.1, flow_labels=False)
    make_recording(Job(tmp_path / "out" / "a.h5", config, 1, 0, motions=tmp_path))
    with h5py.File(tmp_path / "out" / "a.h5") as file:
        assert json.loads(file.attrs["provenance"])["motion"].startswith("cmu13_y sha256:")
    with pytest.raises(MissingAssetError, match="nowhere"):
        make_recording(Job(tmp_path / "b.h5", config, 1, 0, motions=tmp_path / "nowhere"))
    assert not (tmp_path / "b.h5").exists()


def test_a_clip_that_is_asked_for_is_played_as_it_is(tiny_config, write_bvh, tmp_path):
    """From its beginning, not mirrored, no pauses, at its own speed or the one that is asked for."""
    clip = write_bvh(tmp_path / "cmu13_swing.bvh", frames=90)
    restless = replace(tiny_config, style=StyleRanges(mirrored_share=1.0, pause_share=1.0, blend_share=1.0))
    scenes = [
        Generator(restless).draw_scene(np.random.default_rng(seed), Choice(clip=clip, speed=speed))
        for seed, speed in ((1, 0.0), (2, 1.0), (1, 2.0))
    ]
    first, second, fast = (s.people[0].motion.body_pose for s in scenes)
    np.testing.assert_allclose(first, second, atol=0.01)  # on bodies of other shapes
    np.testing.assert_allclose(fast[: len(fast) // 2], first[: 2 * (len(fast) // 2) : 2], atol=1e-6)
    assert np.ptp(first, axis=0).max() > 0.1


def test_a_camera_that_is_given_is_used(tmp_path, tiny_config):
    camera = camera_at((0.5, 1.5, 4.0), size=(50, 70))
    Generator(tiny_config).make(tmp_path / "a.h5", seed=1, choice=Choice(movement="wave", camera=camera))
    labels = read_labels(tmp_path / "a.h5")
    for name in ("K", "dist", "R_world_to_cam", "t_world_to_cam"):
        assert np.array_equal(getattr(labels.camera, name), getattr(camera, name)), name
    assert labels.camera.size == (50, 70)
    with h5py.File(tmp_path / "a.h5") as file:
        factors = json.loads(file.attrs["provenance"])["factors"]
    assert factors["camera"] == "given" and factors["moved_back_m"] == 0


def test_several_people_are_drawn_with_shapes_clothes_and_motions_of_their_own(tmp_path, tiny_config):
    ranges = replace(tiny_config.ranges, people=(3, 3), sensor_sizes=((64, 96),))
    config = replace(tiny_config, ranges=ranges, duration_s=0.1)
    scene = Generator(config).draw_scene(np.random.default_rng(4), Choice())
    assert len(scene.people) == scene.factors["people"] == 3
    for one, two in ((0, 1), (1, 2), (0, 2)):
        a, b = scene.people[one], scene.people[two]
        assert not np.array_equal(a.motion.betas, b.motion.betas)
        assert not np.array_equal(a.motion.body_pose, b.motion.body_pose)
        assert not np.array_equal(a.albedo.reflectance, b.albedo.reflectance)
        apart = np.median(a.motion.transl - b.motion.transl, axis=0)
        assert np.hypot(apart[0], apart[2]) > 0.35
    Generator(config).make(tmp_path / "a.h5", seed=1)
    assert num_people(tmp_path / "a.h5") == 3
    with h5py.File(tmp_path / "a.h5", "r") as file:
        masks = file["labels/mask"][:]
        assert file["labels/people/2/joint_events"].shape == (2, 24)
        assert json.loads(file.attrs["provenance"])["motion"].count("procedural:") >= 3
    assert len(np.unique(masks)) >= 3, "two of them at least are in sight"


def test_people_stand_on_the_floor_where_they_were_placed(tiny_config):
    scene = Generator(tiny_config).draw_scene(np.random.default_rng(0), Choice(movement="wave"))
    cast = Cast.of_scene(scene)
    camera = scene.camera
    world = (cast.at_label(3).vertices[0] - camera.t_world_to_cam) @ camera.R_world_to_cam
    assert world[:, 1].min() == pytest.approx(0.0, abs=0.04)
    middle = np.median(scene.people[0].motion.transl, axis=0)
    assert np.hypot(middle[0], middle[2]) < 0.1


def test_depth_labels_are_written_when_asked_for(tmp_path, tiny_config):
    for depth in (False, True):
        path = tmp_path / f"{depth}.h5"
        make_recording(Job(path, replace(tiny_config, depth_labels=depth, duration_s=0.1), 1, 0))
        with h5py.File(path, "r") as file:
            assert ("labels/depth" in file) == depth


def test_a_recording_shorter_than_a_frame_step_still_has_labels(tmp_path, tiny_config):
    Generator(replace(tiny_config, duration_s=0.02)).make(tmp_path / "a.h5", seed=1)
    labels = read_labels(tmp_path / "a.h5")
    assert labels.t_us.tolist() == [0, 10_000, 20_000]
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert file["labels/mask"].shape[0] == 1 and "labels/flow" not in file
        assert file["labels/people/0/joint_events"].shape == (0, 24)
        assert file["frames/t"][:].tolist() == [0]


def test_without_flow_labels_there_are_none(tmp_path, tiny_config):
    make_recording(Job(tmp_path / "a.h5", replace(tiny_config, flow_labels=False, duration_s=0.1), 1, 0))
    with h5py.File(tmp_path / "a.h5") as file:
        assert "labels/flow" not in file and "labels/mask" in file


def test_a_failed_recording_leaves_nothing_behind(tmp_path, generator):
    with pytest.raises(ShapeError, match="cartwheel"):
        generator.make(tmp_path / "a.h5", seed=1, choice=Choice(movement="cartwheel"))
    assert list(tmp_path.iterdir()) == []


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
        ({"ranges": SceneRanges(gray_exposure_us=(1_000.0, 60_000.0))}, "gray_exposure_us"),
        ({"procedural_share": 1.5}, "procedural_share"),
        ({"min_fps": 500.0, "max_fps": 200.0}, "fps"),
        ({"duration_s": 0.004}, "duration_s"),
    ],
)
def test_settings_that_would_fail_later_are_refused_by_name(changes, field):
    with pytest.raises(ShapeError, match=field):
        GeneratorConfig(**changes)
