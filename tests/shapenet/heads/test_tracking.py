"""Names of people that stay."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.people import People, joint_boxes, nobody
from eventhpe.shapenet.heads.tracking import PersonTracker, TrackingOptions

BODY = np.array([[0, -40], [-8, -30], [8, -30], [-12, 0], [12, 0], [-6, 40], [6, 40]], np.float32)


def window(*centres: tuple[float, float], score: float = 0.8) -> People:
    uv = np.stack([BODY + np.asarray(c, np.float32) for c in centres])
    confidence = np.full(uv.shape[:2], score, np.float32)
    return People(
        uv, confidence, confidence.mean(1), joint_boxes(uv, confidence, size=(400, 600), margin=0.1)
    )


@pytest.mark.parametrize("similarity", ["oks", "iou"])
def test_names_follow_people_whatever_their_order(similarity: str) -> None:
    tracker, rng = PersonTracker(TrackingOptions(similarity=similarity)), np.random.default_rng(0)
    for t in range(20):
        centres = [(60 + 3 * t, 100 + t), (300 - 2 * t, 200), (500, 250 - 3 * t)]
        order = rng.permutation(3)
        names = tracker.update(window(*(centres[i] for i in order)))
        if t == 0:
            name_of = dict(zip(order, names, strict=True))
            assert sorted(names) == [0, 1, 2]
        assert [name_of[i] for i in order] == list(names)


@pytest.mark.parametrize("similarity", ["oks", "iou"])
def test_people_who_pass_each_other_keep_their_names(similarity: str) -> None:
    tracker = PersonTracker(TrackingOptions(similarity=similarity))
    for t in range(41):
        names = tracker.update(window((100 + 5 * t, 200), (300 - 5 * t, 210)))
        assert names.tolist() == [0, 1], t


def test_a_gap_is_bridged_and_a_long_one_ends_the_track() -> None:
    def names_after(gap: int) -> list[int]:
        tracker = PersonTracker(TrackingOptions(max_gap=3))
        for t in range(5):
            tracker.update(window((100 + 8 * t, 200)))
        for _ in range(gap):
            assert len(tracker.update(nobody(len(BODY)))) == 0
        return tracker.update(window((100 + 8 * (5 + gap), 200))).tolist()

    assert names_after(3) == [0]
    assert names_after(4) == [1], "names are never given twice"


def test_somebody_far_away_is_somebody_new() -> None:
    tracker = PersonTracker()
    assert tracker.update(window((100, 200))).tolist() == [0]
    assert tracker.update(window((400, 200))).tolist() == [1]
    assert len(tracker.tracks) == 2


def test_births_ask_for_a_score_and_for_patience() -> None:
    tracker = PersonTracker(TrackingOptions(birth_score=0.5, confirm=2))
    assert tracker.update(window((100, 200), score=0.4)).tolist() == [-1]
    assert tracker.tracks == ()
    assert tracker.update(window((100, 200))).tolist() == [-1], "not confirmed yet"
    assert tracker.update(window((102, 200))).tolist() == [0]
    assert tracker.update(window((104, 200), score=0.4)).tolist() == [0], "a weak sight continues a track"


def test_joints_that_were_not_found_do_not_disturb() -> None:
    tracker = PersonTracker()
    tracker.update(window((100, 200), (200, 200)))
    people = window((104, 200), (203, 200))
    holes = people.uv.copy()
    holes[0, :4] = np.nan
    holes[1, 3:] = np.nan
    assert tracker.update(people._replace(uv=holes)).tolist() == [0, 1]
    assert all(np.isfinite(track.uv).all() for track in tracker.tracks)


def test_the_input_stays_as_it_was() -> None:
    people, tracker = window((100, 200)), PersonTracker()
    before = [a.copy() for a in people]
    for _ in range(2):
        tracker.update(people)
    assert all(np.array_equal(a, b) for a, b in zip(before, people, strict=True))


def test_wrong_options_are_refused() -> None:
    for wrong in ({"similarity": "looks"}, {"gate": 0.0}, {"confirm": 0}, {"momentum": 2.0}):
        with pytest.raises(ShapeError):
            TrackingOptions(**wrong)  # type: ignore[arg-type]
