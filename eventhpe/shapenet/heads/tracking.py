"""Identities of people kept over consecutive windows (NumPy only)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.people import People, box_iou, found_joints, keypoint_similarity

SIMILARITIES = ("oks", "iou")
UNNAMED = -1


@dataclass(frozen=True)
class TrackingOptions:
    """How people of consecutive windows are linked.

    Attributes:
        similarity: "oks" of the joints or "iou" of the boxes, both after moving the track on.
        gate: least similarity of a link.
        falloff: of the OKS, see `keypoint_similarity`.
        birth_score: least score with which an unlinked person starts a track.
        confirm: windows a track must have been seen in before it gets a name.
        max_gap: windows a track may go unseen before it ends.
        momentum: share of the old velocity kept at each link; 1 = people are never moved on.
    Raises:
        ShapeError: no such similarity, or a number out of range.
    """

    similarity: str = "oks"
    gate: float = 0.1
    falloff: float = 0.2
    birth_score: float = 0.0
    confirm: int = 1
    max_gap: int = 5
    momentum: float = 0.5

    def __post_init__(self) -> None:
        if self.similarity not in SIMILARITIES:
            raise ShapeError(f"similarity must be one of {', '.join(SIMILARITIES)}; got {self.similarity!r}.")
        if not 0 < self.gate <= 1 or not 0 <= self.momentum <= 1:
            raise ShapeError("gate must lie in (0, 1] and momentum in [0, 1].")
        if self.falloff <= 0 or self.confirm < 1 or self.max_gap < 0:
            raise ShapeError("falloff must be positive, confirm at least 1 and max_gap at least 0.")


@dataclass(frozen=True)
class Track:
    """One person as last seen, moved on by the windows since.

    Attributes:
        name: the identity, `UNNAMED` before it is confirmed.
        uv: (J, 2) pixels, NaN where never found.
        box: (4,) x0, y0, x1, y1.
        velocity: (2,) pixels a window.
        seen: windows it was seen in.
        gap: windows since it was seen last.
    """

    name: int
    uv: NDArray[np.float64]
    box: NDArray[np.float64]
    velocity: NDArray[np.float64]
    seen: int = 1
    gap: int = 0


class PersonTracker:
    """Gives people of consecutive windows names that stay: integers from 0 in order of appearance, never
    given twice.

    Args:
        options: gates.
    """

    def __init__(self, options: TrackingOptions | None = None) -> None:
        self.options = options or TrackingOptions()
        self.tracks: tuple[Track, ...] = ()
        self._next = 0

    def update(self, people: People) -> NDArray[np.int64]:
        """Take in the next window.

        Args:
            people: found in it; may be nobody.
        Returns:
            (P,) names; `UNNAMED` (-1) for people who start no track or whose track is not confirmed.
        """
        o = self.options
        moved = [_moved_on(track) for track in self.tracks]
        links = _link(moved, people, o)
        names = np.full(len(people.uv), UNNAMED, np.int64)
        kept: list[Track] = []
        for i, track in enumerate(moved):
            if i in links:
                track = self._named(_seen_again(track, people, links[i], o.momentum))
                names[links[i]] = track.name
            if track.gap <= o.max_gap:
                kept.append(track)
        linked = set(links.values())
        for p in range(len(people.uv)):
            if p not in linked and people.score[p] >= o.birth_score:
                track = self._named(_born(people, p))
                names[p] = track.name
                kept.append(track)
        self.tracks = tuple(kept)
        return names

    def _named(self, track: Track) -> Track:
        if track.name != UNNAMED or track.seen < self.options.confirm:
            return track
        self._next += 1
        return replace(track, name=self._next - 1)


def _born(people: People, p: int) -> Track:
    uv, box = people.uv[p].astype(np.float64), people.box[p].astype(np.float64)
    return Track(UNNAMED, uv, box, np.zeros(2))


def _moved_on(track: Track) -> Track:
    step = track.velocity
    return replace(track, uv=track.uv + step, box=track.box + np.tile(step, 2), gap=track.gap + 1)


def _seen_again(track: Track, people: People, p: int, momentum: float) -> Track:
    uv, box = people.uv[p].astype(np.float64), people.box[p].astype(np.float64)
    both = found_joints(uv) & found_joints(track.uv)
    # How far the guess was off, over the windows it was carried on; the median bears joints that jump.
    off = (
        np.median(uv[both] - track.uv[both], axis=0)
        if both.any()
        else (box - track.box).reshape(2, 2).mean(0)
    )
    velocity = track.velocity + (1 - momentum) * off / track.gap
    uv = np.where(found_joints(uv)[:, None], uv, track.uv)
    return Track(track.name, uv, box, velocity, seen=track.seen + 1)


def _link(tracks: list[Track], people: People, options: TrackingOptions) -> dict[int, int]:
    """Track to person, by the assignment of largest total similarity among those above the gate."""
    if not tracks or len(people.uv) == 0:
        return {}
    boxes = np.stack([t.box for t in tracks])
    if options.similarity == "iou":
        similar = box_iou(boxes, people.box)
    else:
        uv = np.stack([t.uv for t in tracks])
        known = found_joints(uv)[:, None] & found_joints(people.uv)[None]
        area = (_area(boxes)[:, None] + _area(people.box)[None]) / 2
        similar = keypoint_similarity(uv, people.uv, known, area=area, falloff=options.falloff)
    similar = np.where(similar >= options.gate, similar, 0.0)
    rows, columns = linear_sum_assignment(-similar)
    return {int(i): int(p) for i, p in zip(rows, columns, strict=True) if similar[i, p] > 0}


def _area(box: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.prod(np.maximum(box[..., 2:] - box[..., :2], 0), axis=-1, dtype=np.float64)
