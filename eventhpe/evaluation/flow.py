"""Flow protocol: end-point error on the crops a capture would see, beside zero flow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eventhpe.data.crops import SquareCrop
from eventhpe.data.labels import read_flow_labels, read_labels
from eventhpe.data.windows import window_frames
from eventhpe.errors import FormatError
from eventhpe.evaluation.tables import Scores, Table, average_scores
from eventhpe.events.open import open_recording
from eventhpe.flownet.estimator import FlowEstimator

FLOW_CROP_PX = 128
CROP_MARGIN = 1.3


def evaluate_flow(paths: list[Path], estimators: dict[str, tuple[FlowEstimator, str]]) -> dict[str, Scores]:
    """Mean end-point error per recording.

    Args:
        paths: recordings with flow labels.
        estimators: name -> (network, its input kind).

    Returns:
        recording -> method ("zero flow" and every estimator) -> metric, in pixels of a 128 px crop:
        `epe_events_px` over person pixels with events, `epe_person_px` over all person pixels.

    Raises:
        FormatError: a recording has no flow labels.
    """
    results: dict[str, Scores] = {}
    for path in paths:
        labels, fields = read_labels(path), read_flow_labels(path)
        if not fields:
            raise FormatError(f"{path}: has no flow labels; make it without --no-flow-labels.")
        sums: dict[str, list[list[float]]] = {}
        with open_recording(path) as recording:
            for field in fields:
                a, b = labels.index(field.t0_us), labels.index(field.t1_us)
                joints = labels.joints2d[a : b + 1].reshape(-1, 2) + 0.5
                crop = SquareCrop.around((*joints.min(0), *joints.max(0)), CROP_MARGIN)
                scale = FLOW_CROP_PX / crop.side
                truth = np.stack([crop.cut_map(c * scale, FLOW_CROP_PX) for c in field.uv])
                person = crop.cut_map(field.valid.astype(np.float32), FLOW_CROP_PX) > 0
                events = recording.read(recording.index_at(field.t0_us), recording.index_at(field.t1_us))
                times = {"t0_us": field.t0_us, "t1_us": field.t1_us, "out_px": FLOW_CROP_PX}
                frames = {
                    k: window_frames(events, crop, kind=k, **times)
                    for k in {k for _, k in estimators.values()}
                }
                active = person & (window_frames(events, crop, kind="binary", **times) > 0).any(0)
                predictions = {"zero flow": np.zeros_like(truth)}
                predictions |= {name: e.estimate(frames[k][None])[0] for name, (e, k) in estimators.items()}
                for name, uv in predictions.items():
                    epe = np.linalg.norm(uv - truth, axis=0)
                    sums.setdefault(name, [[], []])
                    sums[name][0] += epe[active].tolist()
                    sums[name][1] += epe[person].tolist()
        results[path.stem] = {
            name: {
                "epe_events_px": float(np.mean(v[0])) if v[0] else float("nan"),
                "epe_person_px": float(np.mean(v[1])),
            }
            for name, v in sums.items()
        }
    return results


def average_flow(results: dict[str, Scores]) -> Table:
    """Mean over recordings with 95 % bootstrap intervals: method -> metric -> mean, low, high."""
    return average_scores(list(results.values()))
