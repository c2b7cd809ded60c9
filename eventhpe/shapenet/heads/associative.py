"""Associative embedding: tags that tell whose joint a peak is (Newell et al., NeurIPS 2017), the loss and the
grouping as used by HigherHRNet and SWAHR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import Skeleton
from eventhpe.shapenet.heads.peaks import quarter_shift, top_peaks
from eventhpe.shapenet.heads.people import People, joint_boxes, nobody


@dataclass(frozen=True)
class GroupingOptions:
    """How peaks become people.

    Attributes:
        max_people: peaks read from each map, and people given at most.
        detection: a joint's least heat, exclusive (published: 0.1 to 0.12).
        tag_distance: a person's joints lie closer than this to the person's mean tag.
        window: side of the square of non-maximum suppression, odd, in input pixels.
        min_joints: people of fewer joints are dropped (published: none are).
        min_score: people of a lower score are dropped.
        refine: look for each person's missing joints where heat and tags fit best.
        margin: of the boxes around the joints, a share of their longer extent.
    Raises:
        ShapeError: a number out of range.
    """

    max_people: int = 30
    detection: float = 0.1
    tag_distance: float = 1.0
    window: int = 5
    min_joints: int = 3
    min_score: float = 0.0
    refine: bool = True
    margin: float = 0.15

    def __post_init__(self) -> None:
        if self.max_people < 1 or self.min_joints < 1 or self.window < 1 or self.window % 2 == 0:
            raise ShapeError("max_people and min_joints must be at least 1 and window odd and positive.")
        if self.tag_distance <= 0 or not 0 <= self.detection < 1 or self.margin < 0:
            raise ShapeError("tag_distance must be positive, detection in [0, 1) and margin not negative.")


def joint_order(skeleton: Skeleton, names: tuple[str, ...] = ()) -> tuple[int, ...]:
    """Order in which joints join people: from the root outwards, or as named.

    Raises:
        ShapeError: names that are not each of the skeleton's joints once.
    """
    if names:
        if sorted(names) != sorted(skeleton.joints):
            raise ShapeError(
                f"joint_order must name each joint of {skeleton.name} once: {', '.join(skeleton.joints)}; "
                f"got {', '.join(names)}."
            )
        return tuple(skeleton.index(name) for name in names)
    depth: dict[int, int] = {-1: -1}

    def steps(joint: int) -> int:
        if joint not in depth:
            depth[joint] = steps(skeleton.parents[joint]) + 1
        return depth[joint]

    return tuple(sorted(range(len(skeleton.joints)), key=steps))


def embedding_losses(tags: Tensor, cells: Tensor, inside: Tensor) -> dict[str, Tensor]:
    """Pull a person's tags together, push people apart.

    Args:
        tags: (B, J, h, w) one tag per joint and cell.
        cells: (B, M, J, 2) int64 column and row of everybody's joints.
        inside: (B, M, J) bool, joints that count.
    Returns:
        pull: mean over people of the mean over joints of (tag - person's mean)^2; push: half the mean over
        ordered pairs of people of exp(-(difference of means)^2), 0 for fewer than two. Both are means over
        images, float32 also under autocast; images without people count as 0.
    """
    with torch.autocast(device_type=tags.device.type, enabled=False):
        tags = tags.float()
        w = tags.shape[-1]
        index = (cells[..., 1] * w + cells[..., 0]).transpose(1, 2)  # (B, J, M)
        value = tags.flatten(2).gather(2, index).transpose(1, 2)
        weight = inside.float()
        joints = weight.sum(2)
        there = (joints > 0).float()
        people = there.sum(1)
        mean = (value * weight).sum(2) / joints.clamp(min=1)
        spread = ((value - mean[..., None]) ** 2 * weight).sum(2) / joints.clamp(min=1)
        pull = spread.sum(1) / people.clamp(min=1)
        pairs = there[:, :, None] * there[:, None]
        pairs = pairs * (1 - torch.eye(pairs.shape[1], device=tags.device))
        near = torch.exp(-((mean[:, :, None] - mean[:, None]) ** 2)) * pairs
        push = 0.5 * near.sum((1, 2)) / (people * (people - 1)).clamp(min=1)
        return {"pull": pull.mean(), "push": push.mean()}


def group_joints(
    score: NDArray[np.floating],
    tags: NDArray[np.floating],
    order: tuple[int, ...],
    *,
    detection: float,
    tag_distance: float,
) -> NDArray[np.int64]:
    """Assign the peaks of one image to people.

    Joint after joint, peaks go to people by the assignment (Hungarian) of least cost
    100 * round(|tag - mean tag|) - score; a peak that finds nobody, or nobody near enough, starts a person.

    Args:
        score: (J, N) heat of each joint's peaks; those not above `detection` are ignored.
        tags: (J, N, T).
        order: of the joints.
        detection: least heat, exclusive.
        tag_distance: largest distance of a peak's tag from a person's mean, exclusive.
    Returns:
        (P, J) index of the peak among the joint's N, -1 where a person has none; P may be 0.
    """
    J, _, T = tags.shape
    chosen = np.zeros((0, J), np.int64)
    total, count = np.zeros((0, T)), np.zeros(0)
    for j in order:
        peaks = np.flatnonzero(score[j] > detection)
        if len(peaks) == 0:
            continue
        tag = tags[j, peaks].astype(np.float64)
        mean = total / np.maximum(count, 1)[:, None]
        distance = np.linalg.norm(tag[:, None] - mean[None], axis=-1)
        row, column = linear_sum_assignment(np.round(distance) * 100 - score[j, peaks][:, None])
        near = distance[row, column] < tag_distance
        row, column = row[near], column[near]
        chosen[column, j] = peaks[row]
        np.add.at(total, column, tag[row])
        count[column] += 1
        rest = np.setdiff1d(np.arange(len(peaks)), row)
        fresh = np.full((len(rest), J), -1, np.int64)
        fresh[:, j] = peaks[rest]
        chosen, total = np.concatenate([chosen, fresh]), np.concatenate([total, tag[rest]])
        count = np.concatenate([count, np.ones(len(rest))])
    return chosen


def find_people(heat: Tensor, tags: Tensor, order: tuple[int, ...], options: GroupingOptions) -> list[People]:
    """People in each image.

    Args:
        heat: (B, J, H, W) at the size of the image.
        tags: (B, J, T, H, W).
        order: of the joints, see `joint_order`.
        options: thresholds.
    Returns:
        One `People` for each image.
    """
    heat, tags = heat.detach().float(), tags.detach().float()
    value, at = top_peaks(heat, count=options.max_people, window=options.window)
    place = quarter_shift(heat, at)
    W = heat.shape[-1]
    index = (at[..., 1] * W + at[..., 0])[:, :, None].expand(-1, -1, tags.shape[2], -1)
    peak_tags = tags.flatten(3).gather(3, index).transpose(2, 3)
    arrays = [a.cpu().numpy() for a in (value, peak_tags, place)]
    return [
        _people(*(a[i] for a in arrays), heat=heat[i], tags=tags[i], order=order, options=options)
        for i in range(len(heat))
    ]


def _people(
    value: NDArray[np.float32],
    peak_tags: NDArray[np.float32],
    place: NDArray[np.float32],
    *,
    heat: Tensor,
    tags: Tensor,
    order: tuple[int, ...],
    options: GroupingOptions,
) -> People:
    J, H, W = heat.shape
    chosen = group_joints(
        value, peak_tags, order, detection=options.detection, tag_distance=options.tag_distance
    )
    chosen = chosen[(chosen >= 0).sum(1) >= options.min_joints]
    found, joint, pick = chosen >= 0, np.arange(J)[None], np.maximum(chosen, 0)
    confidence = np.where(found, value[joint, pick].clip(0, 1), 0).astype(np.float32)
    score = confidence.mean(1)
    best = np.argsort(-score, kind="stable")[: options.max_people]
    best = best[score[best] >= options.min_score]
    if len(best) == 0:
        return nobody(J)
    found, pick, confidence, score = found[best], pick[best], confidence[best], score[best]
    uv = np.where(found[..., None], place[joint, pick], np.nan).astype(np.float32)
    if options.refine:
        mine = np.where(found[..., None], peak_tags[joint, pick], np.nan)
        for p, tag in enumerate(np.nanmean(mine, axis=1)):
            missing = np.flatnonzero(~found[p])
            uv[p, missing], confidence[p, missing] = _search(heat, tags, missing, tag)
    box = joint_boxes(uv, confidence, size=(H, W), least=options.detection, margin=options.margin)
    return People(uv, confidence, score, box)


def _search(
    heat: Tensor, tags: Tensor, joints: NDArray[np.int64], tag: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Place and confidence of a person's missing joints: largest heat - round(|tag - mean tag|)."""
    pick = torch.as_tensor(joints, device=heat.device)
    h, mean = heat[pick], torch.as_tensor(tag, device=heat.device, dtype=torch.float32)
    distance = (tags[pick] - mean[None, :, None, None]).norm(dim=1)
    index = (h - distance.round()).flatten(1).argmax(1, keepdim=True)
    W = h.shape[-1]
    at = torch.stack([index % W, torch.div(index, W, rounding_mode="floor")], -1)
    uv = quarter_shift(h, at)[:, 0].cpu().numpy()
    confidence = h.flatten(1).gather(1, index)[:, 0].clamp(0, 1).cpu().numpy()
    return np.where(confidence[:, None] > 0, uv, np.nan), confidence
