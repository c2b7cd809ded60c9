"""Average precision on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.errors import ShapeError
from eventhpe.evaluation.average_precision import TruePeople, average_precision
from eventhpe.shapenet.heads.people import People, nobody

J = 4
PERSON = np.array([[10.0, 10], [20, 10], [10, 50], [20, 50]])
AREA = 400.0


def found(*people: tuple[np.ndarray, float]) -> People:
    if not people:
        return nobody(J)
    uv = np.stack([p for p, _ in people]).astype(np.float32)
    box = np.concatenate([uv.min(1), uv.max(1)], -1)
    return People(uv, np.ones((len(uv), J), np.float32), np.array([s for _, s in people], np.float32), box)


def true(*people: np.ndarray, area: float = AREA) -> TruePeople:
    uv = np.stack(people) if people else np.zeros((0, J, 2))
    return TruePeople(uv, np.ones(uv.shape[:2], bool), np.full(len(uv), area))


def test_exact_people_are_worth_one() -> None:
    scores = average_precision([found((PERSON, 0.9), (PERSON + 100, 0.5))], [true(PERSON, PERSON + 100)])
    assert scores == {"ap": 1.0, "ap50": 1.0, "ap75": 1.0, "recall50": 1.0}


def test_nobody_found_and_nobody_there() -> None:
    assert average_precision([nobody(J)], [true(PERSON)])["ap"] == 0.0
    assert np.isnan(average_precision([found((PERSON, 0.9))], [true()])["ap"])


def test_a_more_certain_false_alarm_halves_the_precision() -> None:
    # Found first: nobody there (precision 0), then the person (1 of 2 right): 0.5 at every recall.
    people = found((PERSON + 500, 0.9), (PERSON, 0.5))
    assert average_precision([people], [true(PERSON)])["ap"] == pytest.approx(0.5)
    # A less certain one comes after full recall and costs nothing.
    assert average_precision([found((PERSON + 500, 0.1), (PERSON, 0.5))], [true(PERSON)])["ap"] == 1.0


def test_a_person_counts_once() -> None:
    twice = found((PERSON, 0.9), (PERSON, 0.8), (PERSON + 100, 0.7))
    scores = average_precision([twice], [true(PERSON, PERSON + 100)])
    # Recall 0.5 at precision 1, then 2 of 3: 51 of the 101 recalls at 1, 50 at 2/3.
    assert scores["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_the_threshold_is_the_similarity() -> None:
    # exp(-d^2 / (2 area k^2)) = 0.6 for every joint: right at 0.5, 0.55 and 0.6, wrong above.
    d = np.sqrt(-np.log(0.601) * 2 * AREA * 0.2**2)
    scores = average_precision([found((np.add(PERSON, (d, 0)), 0.9))], [true(PERSON)])
    assert scores["ap"] == pytest.approx(0.3) and scores["ap50"] == 1.0 and scores["ap75"] == 0.0


def test_joints_that_were_not_found_are_wrong() -> None:
    part = PERSON.copy()
    part[2:] = np.nan
    scores = average_precision([found((part, 0.9))], [true(PERSON)])
    assert scores["ap"] == pytest.approx(0.1)  # similarity 0.5: right at the first threshold only


def test_areas_choose_who_counts() -> None:
    small, large = true(PERSON, area=100.0), true(PERSON + 100, area=10_000.0)
    both = TruePeople(*(np.concatenate(v) for v in zip(small, large, strict=True)))
    only_large = found((PERSON + 100, 0.9))
    assert average_precision([only_large], [both], area=(0, 1000))["ap"] == 0.0
    assert average_precision([only_large], [both], area=(1000, np.inf))["ap"] == 1.0


def test_lists_must_fit() -> None:
    with pytest.raises(ShapeError, match="1 images against truth of 0"):
        average_precision([nobody(J)], [])
