"""Tiny prepared DHP19 recordings, in the layout of the authors' files, and a network that reads them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from eventhpe.data.dhp19_cameras import projection_matrix
from eventhpe.data.dhp19_heatmaps import label_pixels
from eventhpe.geometry.triangulate import project_dhp19

# Millimetres, in the official order: a person of 1.75 m in the middle of the volume, seen by all cameras.
STANDING = np.array(
    [
        [20, -150, 1700], [-170, -120, 1450], [180, -130, 1440], [-330, -150, 1200], [340, -160, 1210],
        [-120, -100, 950], [125, -105, 955], [-390, -260, 1010], [400, -270, 1020], [-130, -140, 500],
        [140, -150, 510], [-140, -60, 60], [145, -70, 65],
    ],
    float,
)  # fmt: skip


def walk(num_frames: int, seed: int) -> np.ndarray:
    """(N, 13, 3) millimetres: the person moves about, every marker a little by itself."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(0, (15, 15, 4), (num_frames, 1, 3)), 0)
    return STANDING + path + rng.normal(0, 12, (num_frames, 13, 3))


def draw_frames(labels_mm: np.ndarray) -> np.ndarray:
    """(N, 260, 346, 4) uint8: joint j is the pixel of value 10 (j + 1) in every camera that sees it."""
    frames = np.zeros((len(labels_mm), 260, 346, 4), np.uint8)
    for channel in range(4):
        uv, valid = project_dhp19(projection_matrix(channel), labels_mm, size=(259, 345))
        u, v = np.moveaxis(label_pixels(uv, valid), -1, 0)
        n, j = np.nonzero(valid)
        frames[n, v[n, j], u[n, j], channel] = 10 * (j + 1)
    return frames


def write_prepared(
    root: Path,
    subject: int,
    session: int,
    movement: int,
    labels_mm: np.ndarray,
    *,
    official: bool = True,
    channel: int | None = None,
    num_events: np.ndarray | None = None,
) -> None:
    """One recording: float64 as the authors leave it, else uint8."""
    folder = root / "h5_dataset_7500_events" / "346x260"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"S{subject}_session{session}_mov{movement}_7500events" + (
        "" if channel is None else f"_ch{channel}"
    )
    frames = draw_frames(labels_mm)
    with h5py.File(folder / f"{stem}.h5", "w") as file:
        kept = frames if channel is None else frames[..., channel : channel + 1]
        file.create_dataset("DVS", data=kept.astype(float if official else np.uint8), compression="gzip")
    with h5py.File(folder / f"{stem}_label.h5", "w") as file:
        file["XYZ"] = np.swapaxes(labels_mm, 1, 2)
        if num_events is not None:
            file["windows/num_events"] = num_events


class Seer(nn.Module):
    """Reads `draw_frames`: map j is `confidence` where joint j is drawn."""

    def __init__(self, confidence: float = 1.0) -> None:
        super().__init__()
        self.confidence = nn.Parameter(torch.tensor(confidence))

    def forward(self, frames: Tensor) -> Tensor:
        values = 10.0 * torch.arange(1, 14, device=frames.device)
        return (frames == values[:, None, None]).float() * self.confidence
