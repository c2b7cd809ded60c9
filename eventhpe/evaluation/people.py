"""People found in whole images against labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from eventhpe.data.crowd_samples import CrowdSamples, EveryCrowd
from eventhpe.errors import FormatError
from eventhpe.evaluation.average_precision import TruePeople, average_precision
from eventhpe.shapenet.heads.people import People, best_overlaps, box_iou
from eventhpe.shapenet.heads.swahr import SWAHRNet

BATCH = 8
BOX_IOU = 0.5


def evaluate_people(
    paths: Sequence[Path],
    network: SWAHRNet,
    size: tuple[int, int],
    *,
    flip: bool = False,
    sure: float = 0.0,
) -> dict[str, float]:
    """Score a bottom-up network on every 50 ms window of recordings.

    Args:
        paths: labelled recordings.
        network: trained.
        size: (H, W) of its input.
        flip: average over images and their mirror images.
        sure: score of the people whose boxes count in sure_recall and sure_precision.
    Returns:
        ap, ap50, ap75, recall50 and, by the median area of the labelled people, ap_small and ap_large, in
        0..1; box_recall: share of people whose box is met by a found one with an IoU of 0.5;
        sure_recall and sure_precision: the same share, and that of the boxes that meet somebody, each box
        meeting one person; images; people.
    Raises:
        FormatError: nobody is labelled in them.
    """
    options = CrowdSamples(size[0], size[1], skeleton=network.skeleton.name, max_people=16)
    data = EveryCrowd(paths, options)
    found: list[People] = []
    true: list[TruePeople] = []
    hit = total = met = num_sure = 0
    for begin in range(0, len(data), BATCH):
        samples = [data[i] for i in range(begin, min(begin + BATCH, len(data)))]
        people = network.people(torch.stack([s.frames for s in samples]), flip=flip)
        for sample, here in zip(samples, people, strict=True):
            there = sample.known.any(1).numpy()
            boxes = sample.boxes.numpy()[there]
            area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0), axis=-1)
            true.append(TruePeople(sample.uv.numpy()[there], sample.known.numpy()[there], area))
            overlap = box_iou(here.box, boxes)
            hit += int((overlap >= BOX_IOU).any(0).sum()) if len(here.box) else 0
            total += len(boxes)
            certain = here.box[here.score >= sure]
            met += int((best_overlaps(boxes, certain) >= BOX_IOU).sum())
            num_sure += len(certain)
        found += people
    data.close()
    if not total:
        raise FormatError(f"nobody is labelled in {len(paths)} recordings.")
    middle = float(np.median(np.concatenate([t.area for t in true])))
    scores = average_precision(found, true)
    return {
        **scores,
        "ap_small": average_precision(found, true, area=(0.0, middle))["ap"],
        "ap_large": average_precision(found, true, area=(middle, np.inf))["ap"],
        "box_recall": hit / total,
        "sure_recall": met / total,
        "sure_precision": met / max(1, num_sure),
        "images": len(data),
        "people": total,
    }
