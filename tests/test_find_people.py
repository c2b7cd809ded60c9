"""Boxes and identities over time, with a network whose answers are written down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from eventhpe.capture import Followed, follow_chosen, follow_person, window_starts
from eventhpe.capture_helpers import CaptureHelpers
from eventhpe.errors import FormatError
from eventhpe.events.open import open_recording
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events
from eventhpe.find_people import box_to_image, find_people, fitted_square, smooth_boxes
from eventhpe.shapenet.heads.people import People, joint_boxes, nobody
from eventhpe.shapenet.heads.swahr import SWAHRConfig, SWAHRNet
from tests.small_world import recordings

__all__ = ["recordings"]

SENSOR, SIZE = (120, 160), (96, 128)
T, J = 12, 15


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    n = 4000
    t = np.sort(rng.integers(0, T * 50_000, n))
    t[-1] = T * 50_000 - 1
    events = Events.from_columns(
        t=t, x=rng.integers(0, SENSOR[1], n), y=rng.integers(0, SENSOR[0], n), p=rng.integers(0, 2, n),
        sensor_size=SENSOR,
    )  # fmt: skip
    file = tmp_path_factory.mktemp("people") / "noise.h5"
    with StoreWriter(file, SENSOR) as writer:
        writer.append(events)
    return file


class Scripted(SWAHRNet):
    """Person A walks to the right in all windows but one; B stands in the first four."""

    def __init__(self) -> None:
        super().__init__(SWAHRConfig(width=4, channels=4, lateral_channels=4, blocks=0))
        self.window = 0

    def people(self, frames: Tensor, *, flip: bool = True) -> list[People]:
        assert frames.shape[1:] == (8, *SIZE)
        found = []
        for _ in frames:
            found.append(self.of_window(self.window))
            self.window += 1
        return found

    @staticmethod
    def of_window(k: int) -> People:
        shape = np.stack([np.linspace(0, 12, J), np.linspace(0, 40, J)], -1)
        uv = [np.add(shape, (20 + 2 * k, 30))] if k != 6 else []
        uv += [np.add(shape, (90, 30))] if k < 4 else []
        if not uv:
            return nobody(J)
        places = np.stack(uv).astype(np.float32)
        trust = np.full(places.shape[:2], 0.8, np.float32)
        return People(places, trust, np.full(len(uv), 0.8, np.float32), joint_boxes(places, trust, size=SIZE))


def test_people_keep_their_numbers_and_gaps_are_filled(path: Path) -> None:
    with open_recording(path) as recording:
        starts = window_starts(recording)
        found = find_people(recording, starts, Scripted(), SIZE)
    # B is seen in fewer windows than a person needs, A from its second window on (a track is confirmed then).
    assert [p.person for p in found] == [0]
    a = found[0]
    assert a.window.tolist() == list(range(1, T))
    assert np.isnan(a.uv[a.window == 6]).all() and np.isfinite(a.uv[a.window != 6]).all()
    assert np.isfinite(a.box).all()
    # From input to sensor pixels: 1.25 times as large, the image fills the input.
    middle = a.box[:, [0, 2]].mean(1)
    assert np.diff(middle[2:-2]) == pytest.approx(2 * 1.25, abs=0.6)
    true = (Scripted.of_window(1).uv[0] + 0.5) * 1.25 - 0.5
    np.testing.assert_allclose(a.uv[0], true, atol=1e-4)


def test_the_fitted_square_centres_the_image() -> None:
    square = fitted_square((120, 160), (128, 128))
    # 160 columns fill 128, so 120 rows take 96, with 16 rows free above and below.
    assert (
        square.side == pytest.approx(160)
        and square.left == pytest.approx(0)
        and square.top == pytest.approx(-20)
    )
    corner = square.place(np.array([-0.5, -0.5]), 128)
    np.testing.assert_allclose(corner, [-0.5, 15.5])
    np.testing.assert_allclose(square.back(corner, 128), [-0.5, -0.5])
    np.testing.assert_allclose(
        box_to_image(np.array([-0.5, 15.5, 127.5, 111.5]), square, 128), [0, 0, 160, 120]
    )


def test_boxes_are_medians_without_gaps() -> None:
    boxes = np.tile([10.0, 20, 30, 60], (9, 1))
    boxes[2] = np.nan
    boxes[5] = [0, 0, 160, 120]  # one window far off
    np.testing.assert_allclose(smooth_boxes(boxes), np.tile([10.0, 20, 30, 60], (9, 1)))


def test_torch_is_left_in_peace(path: Path) -> None:
    with open_recording(path) as recording:
        find_people(recording, window_starts(recording)[:2], Scripted(), SIZE)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


class Sometimes(SWAHRNet):
    """Sees one person, at the same place, in windows `first` to `last`."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(SWAHRConfig(width=4, channels=4, lateral_channels=4, blocks=0))
        self.window, self.first, self.last = 0, first, last

    def people(self, frames: Tensor, *, flip: bool = True) -> list[People]:
        found = []
        for _ in frames:
            seen = self.first <= self.window <= self.last
            self.window += 1
            uv = np.stack([np.linspace(40, 60, J), np.linspace(20, 80, J)], -1)[None].astype(np.float32)
            trust = np.full((1, J), 0.9, np.float32)
            box = joint_boxes(uv, trust, size=SIZE)
            found.append(People(uv, trust, np.array([0.9], np.float32), box) if seen else nobody(J))
        return found


def follow(file: Path, first: int, last: int, person: int | None = None) -> Followed:
    helpers = CaptureHelpers(people=Sometimes(first, last), people_size=SIZE, person=person)
    with open_recording(file) as recording:
        return follow_chosen(recording, window_starts(recording), helpers, lambda items, what: items)


def dense(file: Path) -> Followed:
    with open_recording(file) as recording:
        return Followed(*follow_person(recording, window_starts(recording), lambda items, what: items))


def test_where_the_network_sees_nobody_what_moves_most_is_followed(recordings: Path) -> None:
    file = recordings / "jumping_jack.h5"
    found, other = follow(file, 2, 8), dense(file)
    track = slice(3, 9)  # a person is named after two windows
    assert all(a == found.crops[3] for a in found.crops[track])
    assert found.crops[:3] == other.crops[:3] and found.crops[9:] == other.crops[9:]
    assert found.crops[3] != other.crops[3]
    np.testing.assert_array_equal(found.counts, other.counts)
    (note,) = found.notes
    assert (
        note == "in 6 of 12 windows the network did not see the person; the crop follows whatever moves most"
    )


def test_a_person_who_was_asked_for_is_never_exchanged(recordings: Path) -> None:
    found = follow(recordings / "jumping_jack.h5", 2, 8, person=0)
    assert len(set(found.crops)) == 1 and found.notes == ()
    assert found.seen.tolist() == [False] * 3 + [True] * 9
    with pytest.raises(FormatError, match="1 people were found, no 1"):
        follow(recordings / "jumping_jack.h5", 2, 8, person=1)


def test_nobody_found_is_said_and_what_moves_most_is_followed(recordings: Path) -> None:
    file = recordings / "jumping_jack.h5"
    found, other = follow(file, 50, 60), dense(file)
    assert found.crops == other.crops and "found nobody" in found.notes[0]


def test_where_nothing_is_dense_enough_the_nearest_box_stays(path: Path) -> None:
    found = follow(path, 2, 8)
    assert len(set(found.crops)) == 1 and "nearest one found" in found.notes[0]
    with pytest.raises(FormatError, match="found no moving person"):
        follow(path, 50, 60)
