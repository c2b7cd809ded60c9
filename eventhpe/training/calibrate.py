"""Fit the filter of a trained ShapeNet to recordings longer than its training clips.

Training clips last less than a second, so the variances that the network learned say little about seconds.
Three numbers, the log-variance offsets of the absolute head for the root's orientation, for the other joints
and for the place, are chosen on validation recordings, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from eventhpe.body.default import open_body
from eventhpe.data.followed_clip import followed_clip
from eventhpe.data.sample import Clip, collate
from eventhpe.data.synthetic import list_recordings
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.shapenet.flow_motion import FlowMotion
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import NUM_JOINTS, StartState

OFFSETS = (0.0, -1.0, 1.0, 2.0, 3.0, 4.0)
GROUPS: Mapping[str, slice] = MappingProxyType(
    {"root": slice(0, 1), "body": slice(1, NUM_JOINTS), "place": slice(NUM_JOINTS, NUM_JOINTS + 1)}
)
"""Name to the absolute head's variances that share an offset, in the order in which they are chosen."""
BATCH = 16


@dataclass(frozen=True)
class Track:
    """What the network needs of B recordings after its encoder, and the truth."""

    clip: Clip
    features: Tensor
    flow: Tensor | None


@torch.no_grad()
def calibrate(
    network: ShapeNet, flow: FlowEstimator | None, folders: Sequence[Path], *, num_windows: int = 76
) -> dict[str, dict[float, float]]:
    """Add the best offsets to the network's variances, in place.

    Args:
        network: trained ShapeNet.
        flow: its FlowNet, if it uses flow.
        folders: validation recordings, each at least `num_windows` long.

    Returns:
        group -> offset -> error in mm, averaged over start-free and start-known tracks: of the joints from
        the hips, for the place of the pelvis.
    """
    network.eval()
    tracks = [track for folder in folders for track in _tracks(network, flow, folder, num_windows)]
    motion = FlowMotion(open_body()) if network.config.follow_flow else None
    bias = network.noise.log_variances.bias
    errors: dict[str, dict[float, float]] = {}
    for name, group in GROUPS.items():
        learned = bias[group].clone()
        found = {}
        for offset in OFFSETS:
            bias[group] = learned + offset
            joints, pelvis = _errors(network, tracks, motion)
            found[offset] = pelvis if name == "place" else joints
        bias[group] = learned + min(found, key=found.__getitem__)
        errors[name] = found
    return errors


def _tracks(network: ShapeNet, flow: FlowEstimator | None, folder: Path, num_windows: int) -> list[Track]:
    paths = list_recordings(folder)
    tracks = []
    for begin in range(0, len(paths), BATCH):
        features, flows, kept = [], [], []
        for path in paths[begin : begin + BATCH]:
            clip = followed_clip(path, num_windows=num_windows, size_px=network.config.size)
            uv = None if flow is None else torch.from_numpy(flow.estimate(clip.frames))
            seen = network.encode(clip.frames[None], None if uv is None else uv[None], clip.crop[None])
            features.append(seen.features[0])
            if uv is not None:
                flows.append(uv)
            kept.append(clip._replace(frames=clip.frames[:, :0]))
        uvs = torch.stack(flows) if flows else None
        tracks.append(Track(collate(kept), torch.stack(features), uvs))
    return tracks


def _errors(network: ShapeNet, tracks: Sequence[Track], motion: FlowMotion | None) -> tuple[float, float]:
    """Joints from the hips and the pelvis' place, mm."""
    joints_mm, pelvis_mm, count = 0.0, 0.0, 0
    for track in tracks:
        clip = track.clip
        truth = clip.joints3d[:, 1:]
        start = StartState(rotmats=clip.rotmats[:, 0], betas=clip.betas, transl=clip.transl[:, 0])
        for known in (None, start):
            out = network.track(track.features, clip.crop, known, flow=track.flow, motion=motion)
            joints = open_body().joints(out.rotmats, out.betas, out.transl)
            hips = joints[..., 1:3, :].mean(-2, keepdim=True) - truth[..., 1:3, :].mean(-2, keepdim=True)
            joints_mm += float((joints - truth - hips).norm(dim=-1).mean((1, 2)).sum()) * 1000
            pelvis_mm += float(hips.norm(dim=-1).mean((1, 2)).sum()) * 1000
            count += len(truth)
    return joints_mm / count, pelvis_mm / count
