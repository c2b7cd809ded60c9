"""Pictures and videos of a motion over its events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eventhpe.body.motion import MotionClip
from eventhpe.body.posing import BodyPoser
from eventhpe.data.labels import read_labels
from eventhpe.errors import ShapeError
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.render.movie import picture_scale, window_picture, write_movie
from eventhpe.render.overlay import event_image, upscale
from eventhpe.render.raster import rasterize

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def clip(recordings: Path, poser: BodyPoser) -> MotionClip:
    """The true motion, one pose per 50 ms window."""
    labels = read_labels(recordings / "jumping_jack.h5")
    p = labels.params
    picked = {n: getattr(p, n)[5::5] for n in ("betas", "global_orient", "body_pose", "transl")}
    rest = poser.joints(p.betas[0], np.zeros((24, 3)), np.zeros(3))
    return MotionClip(replace(p, **picked), labels.t_us[5::5], rest, camera=labels.camera)


@pytest.fixture(scope="module")
def events(recordings: Path) -> Events:
    with open_recording(recordings / "jumping_jack.h5") as recording:
        return recording.between(0, 50_000)


def decode(path: Path) -> tuple[str, float, list[np.ndarray]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
        return stream.codec_context.name, float(stream.average_rate), frames


@pytest.mark.parametrize(("height", "scale"), [(128, 4), (180, 3), (260, 2), (480, 1), (720, 1), (32, 4)])
def test_small_sensors_are_enlarged(height: int, scale: int) -> None:
    assert picture_scale((height, 2 * height)) == scale


def test_events_alone(events: Events, clip: MotionClip, poser: BodyPoser) -> None:
    plain = upscale(event_image(events), 3)
    assert np.array_equal(window_picture(events, scale=3), plain)
    assert np.array_equal(window_picture(events, scale=3, clip=clip, poser=poser, what="events"), plain)


def test_mesh_is_drawn_where_the_body_is(events: Events, clip: MotionClip, poser: BodyPoser) -> None:
    k, p = 4, clip.params
    assert clip.camera is not None
    picture = window_picture(events, scale=2, clip=clip, index=k, poser=poser)
    changed = (picture != upscale(event_image(events), 2)).any(-1)
    vertices = poser.vertices(p.betas[k], p.pose[k], p.transl[k])
    mask = rasterize(vertices, poser.faces, clip.camera).coverage > 0.5
    mask = mask.repeat(2, 0).repeat(2, 1)
    assert (changed & mask).sum() / (changed | mask).sum() > 0.85
    assert picture[mask][:, 2].mean() > 1.3 * picture[mask][:, 0].mean()  # a blue body


def test_skeleton_is_drawn_at_the_joints(events: Events, clip: MotionClip, poser: BodyPoser) -> None:
    assert clip.camera is not None
    picture = window_picture(events, scale=4, clip=clip, index=4, poser=poser, what="skeleton")
    changed = (picture != upscale(event_image(events), 4)).any(-1)
    uv = (clip.camera.project(clip.joints()[4]) + 0.5) * 4 - 0.5
    H, W = changed.shape
    inside = [(round(v), round(u)) for u, v in uv if 0 <= round(v) < H and 0 <= round(u) < W]
    assert len(inside) >= 20 and all(changed[place] for place in inside)
    assert changed.mean() < 0.2


def test_crop_and_label_are_drawn(events: Events) -> None:
    plain = window_picture(events, scale=2)
    boxed = window_picture(events, scale=2, crop=(20.0, 30.0, 50.0))
    changed = (boxed != plain).any(-1)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (60, 160, 40, 140)
    assert changed.sum() <= 4 * 101
    labelled = (window_picture(events, scale=2, label="1.00 s") != plain).any(-1)
    assert labelled[:40, :120].any() and not labelled[60:].any()


def test_motion_and_recording_must_belong_together(
    events: Events, clip: MotionClip, poser: BodyPoser
) -> None:
    other = replace(clip, camera=Camera.from_focal(200.0, (260, 346)))
    with pytest.raises(ShapeError, match=r"\(260, 346\), the recording's sensor \(128, 128\)"):
        window_picture(events, scale=1, clip=other, poser=poser)
    with pytest.raises(ShapeError, match="carries no camera"):
        window_picture(events, scale=1, clip=replace(clip, camera=None), poser=poser)


def test_video_of_a_motion(recordings: Path, clip: MotionClip, poser: BodyPoser, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    crops = [(10.0, 10.0, 100.0)] * len(clip)
    with open_recording(recordings / "jumping_jack.h5") as recording:
        assert write_movie(path, recording, clip=clip, poser=poser, crops=crops) == 12
        codec, fps, frames = decode(path)
        assert codec == "h264" and fps == 20.0 and len(frames) == 12
        events = recording.between(150_000, 200_000)
    wanted = window_picture(events, scale=4, clip=clip, index=3, poser=poser, crop=crops[3], label="0.20 s")
    assert np.abs(frames[3].astype(int) - wanted).mean() < 6
    other = window_picture(events, scale=4, clip=clip, index=9, poser=poser, crop=crops[3], label="0.20 s")
    assert np.abs(frames[3].astype(int) - other).mean() > np.abs(frames[3].astype(int) - wanted).mean()
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_video_without_a_motion_covers_the_recording(recordings: Path, tmp_path: Path) -> None:
    with open_recording(recordings / "squat.h5") as recording:
        assert write_movie(tmp_path / "a.mp4", recording, what="events", window_us=100_000) in (5, 6)
        _, fps, frames = decode(tmp_path / "a.mp4")
        assert fps == 10.0 and len(frames) in (5, 6)
    short = Recording.from_events(Events.from_columns([0, 900], [1, 2], [3, 4], [0, 1], (32, 48)))
    assert write_movie(tmp_path / "b.mp4", short) == 1
    assert decode(tmp_path / "b.mp4")[2][0].shape == (128, 192, 3)


def test_a_failed_video_leaves_nothing(
    recordings: Path, clip: MotionClip, poser: BodyPoser, tmp_path: Path
) -> None:
    bad = replace(clip, camera=None)
    with open_recording(recordings / "squat.h5") as recording, pytest.raises(ShapeError):
        write_movie(tmp_path / "a.mp4", recording, clip=bad, poser=poser)
    assert list(tmp_path.iterdir()) == []
