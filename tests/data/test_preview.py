"""Pictures of labels: three panels of the right size, and a movie with a picture per half window."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from eventhpe.data.preview import PANEL_HEIGHT_PX, WINDOW_US, label_picture, write_label_movie
from eventhpe.data.truth import Truth
from eventhpe.errors import FormatError, UnitError
from eventhpe.events.open import open_recording
from eventhpe.events.store_writer import StoreWriter
from eventhpe.render.background import Background
from tests.data.staging import person, record, stage, standing


def panels_of(picture: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    scale = max(1, round(PANEL_HEIGHT_PX / size[0]))
    width = size[1] * scale
    assert picture.dtype == np.uint8 and picture.ndim == 3
    return [picture[:, picture.shape[1] * i // 3 : picture.shape[1] * i // 3 + width] for i in range(3)]


def test_a_picture_has_gray_events_and_flow_side_by_side(duo):
    path, scene = duo
    with Truth(path) as truth, open_recording(path) as recording:
        picture = label_picture(truth, recording, 50_000, 100_000)
        assert picture.shape[1] >= 3 * 96 * 4 and picture.shape[0] >= 96 * 4
        gray, events, flow = panels_of(picture, scene.camera.size)
        other = label_picture(truth, recording, 100_000, 150_000)
    for panel in (gray, events, flow):
        assert panel.std() > 5, "no panel is empty"
    assert np.abs(picture.astype(int) - other).mean() > 1, "another window is another picture"


def test_joints_are_drawn_where_they_are(tmp_path):
    """Of a person in black before black: what is bright in the first panel is drawn, and lies on the body."""
    dark = Background(np.zeros((96, 96), np.float32))
    scene = stage(person(standing(11), albedo=0.0), background=dark)
    path = record(scene, tmp_path / "a.h5")
    with Truth(path) as truth, open_recording(path) as recording:
        picture = label_picture(truth, recording, 50_000, 100_000)
        mask = truth.mask(100_000) > 0
    gray = panels_of(picture, (96, 96))[0]
    drawn = gray.max(axis=2)[30:] > 40  # below the caption
    body = cv2.dilate(cv2.resize(mask.astype(np.uint8), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST),
                      np.ones((25, 25)))[30:]  # fmt: skip
    assert drawn.sum() > 300
    assert (body[drawn] > 0).mean() > 0.97


def test_a_movie_has_a_picture_every_half_window(duo, tmp_path):
    n = write_label_movie(tmp_path / "movie.mp4", duo[0], slow=4.0)
    assert n == len(range(WINDOW_US, 200_001, WINDOW_US // 2)) == 7
    video = cv2.VideoCapture(str(tmp_path / "movie.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == n
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0), "40 half windows a second, four times slower"
    assert [p.name for p in tmp_path.iterdir()] == ["movie.mp4"]


def test_windows_and_files_without_labels_are_refused(duo, tmp_path):
    with (
        Truth(duo[0]) as truth,
        open_recording(duo[0]) as recording,
        pytest.raises(UnitError, match="250000"),
    ):
        label_picture(truth, recording, 200_000, 250_000)
    with StoreWriter(tmp_path / "plain.h5", (8, 8)):
        pass
    with pytest.raises(FormatError, match="no labels"):
        write_label_movie(tmp_path / "movie.mp4", tmp_path / "plain.h5")
    assert not (tmp_path / "movie.mp4").exists()
