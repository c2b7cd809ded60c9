"""The mini MMHPSD: which sequences, from which camera, and both layouts of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eventhpe.data.generator import Choice, Generator
from eventhpe.data.labels import read_labels
from eventhpe.data.mmhpsd_sequence import MMHPSD_CAMERA, TEST_SUBJECTS, SequenceReader, SequenceSource
from eventhpe.data.mmhpsd_set import draw_missing, draw_place, make_sequence, marker_of, sequence_of
from eventhpe.data.presets import preset_config
from eventhpe.errors import FormatError
from tests.data.mmhpsd_fixture import labels_of, moving_params, write_sequence_recording

CONFIG = preset_config("mmhpsd")


class Recorder(Generator):
    """Writes one and the same recording and remembers how it was asked for."""

    def __init__(self) -> None:
        super().__init__(CONFIG)
        self.asked: list[tuple[int, int, Choice]] = []

    def make(self, output: Path, **how: Any) -> None:
        self.asked.append((how["seed"], how["index"], how["choice"]))
        write_sequence_recording(output, labels_of(moving_params()))


def test_recordings_run_through_all_sequences_and_mix_the_splits() -> None:
    assert [sequence_of(k)[0] for k in range(15)] == [3, 1, 4, 2, 5, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
    assert [sequence_of(k) for k in (0, 15, 30, 45, 179)] == [
        (3, 1, 1), (3, 2, 1), (3, 3, 1), (3, 1, 2), (15, 3, 4),
    ]  # fmt: skip
    everything = {sequence_of(k) for k in range(180)}
    assert everything == {(s, g, t) for s in range(1, 16) for g in range(1, 4) for t in range(1, 5)}
    assert Counter(sequence_of(k)[0] in TEST_SUBJECTS for k in range(6)) == {True: 3, False: 3}
    for k in (180, -1):
        with pytest.raises(FormatError, match=f"--n: MMHPSD has 180 sequences; {k + 1} were asked for"):
            sequence_of(k)


def test_a_subject_has_one_place_of_the_camera() -> None:
    cameras = [draw_place(5, subject) for subject in range(1, 16)]
    again = draw_place(5, 3)
    assert np.array_equal(again.t_world_to_cam, cameras[2].t_world_to_cam)
    assert len({c.t_world_to_cam.tobytes() for c in cameras}) == 15
    assert not np.array_equal(draw_place(6, 3).t_world_to_cam, again.t_world_to_cam)
    for camera in cameras:
        eye = -camera.R_world_to_cam.T @ camera.t_world_to_cam
        assert np.abs(eye - [0, 1.0, 3.2]).max() < 0.16
        assert np.array_equal(camera.K, MMHPSD_CAMERA.K) and camera.size == (256, 256)
        head, feet, middle = camera.project(camera.to_camera_frame([[0, 1.75, 0], [0, 0, 0], [0, 0.9, 0]]))
        assert 10 < head[1] < feet[1] < 246, "a tall person is in view from head to feet"
        assert np.abs(middle - [128, 128]).max() < 12


def test_some_sequences_miss_a_few_poses() -> None:
    num_frames = int(CONFIG.duration_s * 1e6) // CONFIG.frame_step_us + 1
    runs = [draw_missing(1, sequence_of(k), CONFIG) for k in range(180)]
    assert runs[7] == draw_missing(1, sequence_of(7), CONFIG)
    assert 0.15 < np.mean([len(run) > 0 for run in runs]) < 0.45
    assert {len(run) for run in runs} == {0, 1, 2, 3}
    for run in runs:
        assert not run or (run == tuple(range(run[0], run[-1] + 1)) and run[-1] < num_frames)


def test_a_sequence_is_made_in_both_layouts_and_only_once(tmp_path: Path) -> None:
    generator = Recorder()
    k = next(k for k in range(180) if sequence_of(k)[0] == 7)
    marker = marker_of(tmp_path, sequence_of(k))
    path = make_sequence(tmp_path, generator, 5, k)
    assert path == tmp_path / "recordings" / "subject07_group1_time1.h5"
    ((seed, index, choice),) = generator.asked
    assert (seed, index) == (5, k) and choice.camera is not None
    assert np.array_equal(choice.camera.t_world_to_cam, draw_place(5, 7).t_world_to_cam)
    name = path.stem
    assert marker == tmp_path / "layout_a" / "events_256" / name / f"{name}_info.pkl"
    others = [p for p in tmp_path.rglob("*") if p.is_file() and p != marker]
    assert all(p.stat().st_mtime_ns <= marker.stat().st_mtime_ns for p in others), "the marker comes last"
    assert (tmp_path / "layout_b" / "mmhpsd_events" / name / "events_frame_04" / "events_0000.npz").exists()

    before = {p: p.stat().st_mtime_ns for p in others}
    marker.unlink()  # as if the call had been interrupted just before its end
    lost = tmp_path / "layout_b" / "mmhpsd_events" / name / "poses" / "pose_0003.npz"
    content = lost.read_bytes()
    lost.unlink()
    make_sequence(tmp_path, generator, 5, k)
    assert marker.exists() and lost.read_bytes() == content and len(generator.asked) == 1
    changed = {p.name for p, t in before.items() if p.stat().st_mtime_ns != t}
    assert changed <= {lost.name, "train_track0802.pkl", "test_track0802.pkl"}


def test_other_frame_rates_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    generator = Recorder()
    generator.config = replace(CONFIG, label_step_us=10_000, frame_step_us=50_000)
    with pytest.raises(FormatError, match=r"GeneratorConfig\.frame_step_us: gray frames every 50000 us"):
        make_sequence(tmp_path, generator, 5, 0)
    assert generator.asked == [] and not list(tmp_path.iterdir())


def test_the_generator_makes_what_the_export_needs(tmp_path: Path) -> None:
    generator = Generator(replace(CONFIG, duration_s=0.25, supersample=1, procedural_share=1.0))
    path = make_sequence(tmp_path, generator, 2, 0)
    labels = read_labels(path)
    assert labels.step_us == 11_111 and np.allclose(labels.camera.K, MMHPSD_CAMERA.K)
    with SequenceReader(SequenceSource(path, 3, 1, 1)) as reader:
        assert reader.t_us.tolist() == [0, 66_666, 133_332, 199_998]
        at = labels.index(reader.t_us)
        np.testing.assert_allclose(reader.poses.joints3d, labels.joints3d[at], atol=1e-4)
        np.testing.assert_allclose(reader.poses.joints2d[..., :2], labels.joints2d[at], atol=0.05)
        assert len(reader.events(0)) > 100
    assert marker_of(tmp_path, (3, 1, 1)).exists()
