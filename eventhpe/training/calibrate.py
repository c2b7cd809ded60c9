"""Fit the filter of a trained ShapeNet to recordings longer than its training clips.

Training clips last less than a second, so the variances that the network learned say little about seconds.
One number, the log-variance offset of the absolute root orientation, is chosen on validation recordings: it
is the least certain quantity, since front and back look alike to events.
"""

from __future__ import annotations

from pathlib import Path

import torch

from eventhpe.body.default import open_body
from eventhpe.data.sample import Clip, collate
from eventhpe.data.synthetic import ClipDataset, list_recordings
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import StartState

OFFSETS = (0.0, 1.0, 2.0, 3.0)


@torch.no_grad()
def calibrate_root(
    network: ShapeNet, flow: FlowEstimator | None, folder: Path, *, num_windows: int = 76
) -> dict[float, float]:
    """Add the best offset to the network's root variance, in place.

    Args:
        network: trained ShapeNet.
        flow: its FlowNet, if it uses flow.
        folder: validation recordings, each at least `num_windows` long.

    Returns:
        offset -> root-aligned joint error in mm, averaged over start-free and start-known tracks.
    """
    clips = ClipDataset(
        folder,
        length=len(list_recordings(folder)),
        num_windows=num_windows,
        size_px=network.config.size,
        seed=31,
        augment=False,
    )
    network.eval()
    bias = network.noise.log_variances.bias
    learned = float(bias[0])
    errors = {}
    for offset in OFFSETS:
        bias[0] = learned + offset
        errors[offset] = sum(_error(network, flow, collate([clips[i]])) for i in range(len(clips))) / len(
            clips
        )
    bias[0] = learned + min(errors, key=errors.__getitem__)
    return errors


def _error(network: ShapeNet, flow: FlowEstimator | None, clip: Clip) -> float:
    uv = None if flow is None else torch.from_numpy(flow.estimate(clip.frames[0]))[None]
    start = StartState(rotmats=clip.rotmats[:, 0], betas=clip.betas, transl=clip.transl[:, 0])
    truth = clip.joints3d[:, 1:]
    total = 0.0
    for known in (None, start):
        out = network(clip.frames, uv, clip.crop, known)
        joints = open_body().joints(out.rotmats, out.betas, out.transl)
        hips = joints[..., 1:3, :].mean(-2, keepdim=True) - truth[..., 1:3, :].mean(-2, keepdim=True)
        total += float((joints - truth - hips).norm(dim=-1).mean()) * 1000
    return total / 2
