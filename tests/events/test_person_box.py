"""The person finder: where is the dense, moving patch of events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from eventhpe.events.filters import background_activity
from eventhpe.events.open import open_recording
from eventhpe.events.person_box import Box, PersonFinder
from eventhpe.events.types import Events

SIZE = (128, 128)
WINDOW_US = 50_000
PERSON_W, PERSON_H = 34, 72

IntBox = tuple[int, int, int, int]


def window_events(
    boxes: Sequence[IntBox], k: int, *, noise: int = 60, hot: Sequence[tuple[int, int]] = (), size=SIZE
) -> Events:
    """Events of window k: half an event per pixel of each box, uniform noise, 20 events of each hot pixel."""
    rng = np.random.default_rng(k)
    h, w = size
    x, y = [rng.integers(0, w, noise)], [rng.integers(0, h, noise)]
    for x0, y0, x1, y1 in boxes:
        n = (x1 - x0) * (y1 - y0) // 2
        x.append(rng.integers(x0, x1, n))
        y.append(rng.integers(y0, y1, n))
    for column, row in hot:
        x.append(np.full(20, column))
        y.append(np.full(20, row))
    n = sum(map(len, x))
    t = k * WINDOW_US + np.sort(rng.integers(0, WINDOW_US, n))
    return Events.from_columns(t, np.concatenate(x), np.concatenate(y), rng.integers(0, 2, n), size)


def find(
    windows: Sequence[Sequence[IntBox]], *, filtered: bool = True, size=SIZE, **options
) -> list[Box | None]:
    """Boxes as a capture finds them: isolated events are removed first."""
    finder = PersonFinder()
    densities = []
    for k, boxes in enumerate(windows):
        events = window_events(boxes, k, size=size, **options)
        densities.append(finder.density(background_activity(events, dt_us=20_000) if filtered else events))
    return finder.boxes(densities, size)


def iou(a: Box | None, b: IntBox) -> float:
    assert a is not None
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def at(x: float, y: float = 30) -> IntBox:
    return round(x), round(y), round(x) + PERSON_W, round(y) + PERSON_H


SWAYING = [at(45 + 5 * np.sin(k / 3), 30 + 3 * np.cos(k / 4)) for k in range(40)]
CROSSING = [at(5 + 1.2 * k) for k in range(50)]


def test_density_counts_active_pixels_per_cell():
    events = Events.from_columns(
        [0] * 6, [0, 0, 1, 5, 127, 3], [0, 0, 0, 0, 127, 3], [0, 1, 1, 1, 1, 0], SIZE
    )
    density = PersonFinder().density(events)
    assert density.shape == (32, 32) and density.sum() == 5, "a pixel counts once"
    assert density[0, 0] == 3 and density[0, 1] == 1 and density[31, 31] == 1
    odd = PersonFinder().density(Events.from_columns([0], [345], [259], [1], (260, 346)))
    assert odd.shape == (24, 32) and odd[-1, -1] == 1, "the last cells reach over the border"


@pytest.mark.parametrize("filtered", [True, False])
def test_the_box_is_on_the_person(filtered):
    boxes = find([[b] for b in SWAYING], filtered=filtered)
    assert len(boxes) == 40
    overlaps = [iou(box, truth) for box, truth in zip(boxes, SWAYING, strict=True)]
    assert min(overlaps) > 0.6


def test_the_box_is_on_the_person_on_a_wide_sensor():
    truth = [tuple(int(2.03 * v) for v in b) for b in SWAYING]
    boxes = find([[b] for b in truth], size=(260, 346), noise=300)
    assert min(iou(box, t) for box, t in zip(boxes, truth, strict=True)) > 0.6
    assert all(b is not None and 0 <= b[0] < b[2] <= 346 and 0 <= b[1] < b[3] <= 260 for b in boxes)


def test_somebody_who_crosses_the_image_is_followed():
    boxes = find([[b] for b in CROSSING])
    assert min(iou(box, truth) for box, truth in zip(boxes, CROSSING, strict=True)) > 0.6
    middle = np.array([(b[0] + b[2]) / 2 for b in boxes if b is not None])
    assert middle[-1] - middle[0] > 0.8 * (CROSSING[-1][0] - CROSSING[0][0])
    truth = np.array([(b[0] + b[2]) / 2 for b in CROSSING])
    assert np.abs(middle - truth).max() < 8


def test_where_nobody_moves_there_is_no_box():
    assert find([[]] * 30) == [None] * 30
    assert find([[]] * 30, noise=0, filtered=False) == [None] * 30
    assert find([[]] * 30, hot=[(20, 20), (90, 90), (91, 90)]) == [None] * 30


def test_hot_pixels_do_not_win():
    hot = [(120, 4), (121, 4), (120, 5), (4, 120)]
    boxes = find([[b] for b in CROSSING], hot=hot)
    assert min(iou(box, truth) for box, truth in zip(boxes, CROSSING, strict=True)) > 0.6


def test_the_bigger_of_two_patches_is_the_person():
    boxes = find([[b, (110, 5, 122, 17)] for b in SWAYING])
    assert min(iou(box, truth) for box, truth in zip(boxes, SWAYING, strict=True)) > 0.6


def test_the_box_waits_for_the_person_and_stays_when_they_stand_still():
    windows: list[list[IntBox]] = [[] for _ in range(30)] + [[b] for b in SWAYING] + [[] for _ in range(30)]
    boxes = find(windows)
    assert boxes[0] is None and boxes[15] is None
    assert all(b is not None for b in boxes[30:]), "who stopped moving is still there"
    assert iou(boxes[-1], SWAYING[-1]) > 0.5


def test_a_limb_that_stops_is_remembered_for_some_windows():
    windows = []
    for k in range(70):
        x = round(45 + 3 * np.sin(k / 2))
        body, arm = (x, 30, x + 24, 100), (x + 24, 40, x + 54, 50)
        windows.append([body, arm] if k < 30 else [body])
    boxes = find(windows)
    right = np.array([b[2] for b in boxes if b is not None])
    assert len(right) == 70
    assert right[25] > 93, "the arm reaches to about 99"
    # The context looks 5 windows ahead, so the edge begins to shrink at the earliest when the arm stops.
    assert right[36] > right[25] - 8, "remembered"
    assert right[45] > 80, "and given up slowly"
    assert right[-1] < 85, "but not for ever"
    assert (np.diff(right[31:]) > -3).all(), "without a jump"


@pytest.mark.parametrize("windows", [1, 2, 4, 8])
def test_short_recordings_have_a_box_too(windows):
    boxes = find([[b] for b in SWAYING[:windows]])
    assert min(iou(box, truth) for box, truth in zip(boxes, SWAYING, strict=False)) > 0.6


def test_no_windows_no_boxes():
    assert PersonFinder().boxes([], SIZE) == []


def test_the_box_shrinks_while_a_real_person_walks_away(shared):
    finder = PersonFinder()
    with open_recording(shared / "events" / "dvs128-walking" / "neal_walking.aedat") as recording:
        densities = [
            finder.density(background_activity(events, dt_us=20_000))
            for _, _, events in recording.windows("time", duration_us=WINDOW_US, drop_last=True)
        ]
        boxes = finder.boxes(densities, recording.sensor_size)
    heights = np.array([b[3] - b[1] for b in boxes if b is not None])
    assert len(heights) == len(boxes) > 150
    thirds = [float(np.median(part)) for part in np.array_split(heights, 3)]
    assert thirds[0] > 1.3 * thirds[1] > 1.3 * thirds[2]
    assert heights[0] > 100 and heights[-1] < 60
    middle = np.array([(b[0] + b[2]) / 2 for b in boxes if b is not None])
    assert np.abs(np.diff(middle)).max() < 12, "the box glides"
