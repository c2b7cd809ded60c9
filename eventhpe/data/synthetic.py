"""Training data from recordings of ours with labels: generated ones, or real ones with fitted bodies.

Every sample is drawn from (seed, index) alone, so the order and the bytes are the same at any worker count.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from eventhpe.data.augment import jitter_events, mirror_clip, random_crop
from eventhpe.data.crops import SquareCrop
from eventhpe.data.labels import Labels, num_people, read_labels
from eventhpe.data.sample import Clip, FlowPair
from eventhpe.data.windows import WINDOW_US, window_frames
from eventhpe.errors import FormatError, MissingAssetError
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.geometry.rotation import rotvec_to_rotmat


def list_recordings(folder: str | Path) -> list[Path]:
    """The `.h5` recordings of a folder, sorted.

    Raises:
        MissingAssetError: there are none.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("*.h5")) if folder.is_dir() else [folder] if folder.is_file() else []
    if not paths:
        raise MissingAssetError(
            f"{folder}: no .h5 recordings there. Make some: eventhpe simulate --n 20 --seed 1 -o {folder}"
        )
    return paths


def _paths(recordings: str | Path | Sequence[Path]) -> list[Path]:
    """Of a folder, or those that were chosen already."""
    return list_recordings(recordings) if isinstance(recordings, str | Path) else list(recordings)


MAX_OPEN = 256
"""Recordings that a data set keeps open in each process; one with its labels takes about 4 MB."""


class _Recordings:
    """Recordings and their labels, opened on first use in each process; the last used stay open."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self._open: OrderedDict[Path, tuple[Recording, list[Labels]]] = OrderedDict()

    def __getitem__(self, path: Path) -> tuple[Recording, list[Labels]]:
        if path not in self._open:
            people = [read_labels(path, i) for i in range(num_people(path))]
            self._open[path] = (open_recording(path), people)
            if len(self._open) > MAX_OPEN:
                _, (oldest, _) = self._open.popitem(last=False)
                oldest.close()
        self._open.move_to_end(path)
        return self._open[path]

    def close(self) -> None:
        """Close what is open; it is opened again when it is asked for."""
        for recording, _ in self._open.values():
            recording.close()
        self._open.clear()


def _draw_person(people: list[Labels], rng: np.random.Generator) -> Labels:
    """One of the people who are in the image for most of the time; the first if nobody is."""
    h, w = people[0].camera.size
    seen = []
    for labels in people:
        u, v = labels.joints2d[..., 0], labels.joints2d[..., 1]
        with np.errstate(invalid="ignore"):
            inside = (u > 0) & (u < w - 1) & (v > 0) & (v < h - 1)
        if inside.mean() > 0.5:
            seen.append(labels)
    chosen = seen or people[:1]
    return chosen[int(rng.integers(len(chosen)))]


def labelled_clip(
    labels: Labels,
    ks: NDArray[np.int64],
    frames: Sequence[NDArray[np.float32]],
    rays: Sequence[NDArray[np.float32]],
) -> Clip:
    """T windows' frames (C, S, S) and rays (3,) with the bodies of labels ks (T+1,)."""
    return Clip(
        frames=torch.from_numpy(np.stack(frames)),
        crop=torch.from_numpy(np.stack(rays)),
        rotmats=torch.from_numpy(rotvec_to_rotmat(labels.params.pose[ks]).astype(np.float32)),
        transl=torch.from_numpy(labels.params.transl[ks].astype(np.float32)),
        joints3d=torch.from_numpy(labels.joints3d[ks].astype(np.float32)),
        betas=torch.from_numpy(labels.params.betas[0].astype(np.float32)),
    )


class ClipDataset(Dataset[Clip]):
    """Clips of T windows for ShapeNet.

    Args:
        folder: folder of recordings made by `eventhpe simulate`, or the recordings themselves.
        length: samples in one pass.
        num_windows: T.
        size_px: S, side of the network input.
        kind: input kind (see data.windows).
        seed: of the draws.
        augment: jitter events and mirror; off for validation.
        rest_pelvis_x: of the body, for mirroring.
        steady_crop: keep the crop exactly still within a clip, as the parity variant needs.
    """

    def __init__(
        self,
        folder: str | Path | Sequence[Path],
        *,
        length: int,
        num_windows: int,
        size_px: int,
        kind: str = "counts",
        seed: int = 0,
        augment: bool = True,
        rest_pelvis_x: float = 0.0,
        steady_crop: bool = False,
    ) -> None:
        self.paths = _paths(folder)
        self.length, self.num_windows, self.size_px = length, num_windows, size_px
        self.kind, self.seed, self.augment, self.rest_pelvis_x = kind, seed, augment, rest_pelvis_x
        self.steady_crop = steady_crop
        self.offset = 0
        """Added to every index, to go on where an earlier run stopped."""
        self._recordings = _Recordings(self.paths)

    def close(self) -> None:
        """Close the recordings; they are opened again when a sample needs them."""
        self._recordings.close()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Clip:
        if index >= self.length:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.offset + index])
        path = self.paths[int(rng.integers(len(self.paths)))]
        recording, labels, starts = self._startable(path, rng)
        if not len(starts):  # no run of valid bodies in this one is long enough
            path, recording, labels, starts = self._another(rng)
        stride = WINDOW_US // labels.step_us
        start = int(starts[int(rng.integers(0, len(starts)))])
        ks = start + np.arange(self.num_windows + 1) * stride
        t = labels.t_us[ks]
        events = recording.read(recording.index_at(int(t[0])), recording.index_at(int(t[-1])))
        if self.augment:
            events = jitter_events(events, rng)
        base = random_crop(labels.joints2d[ks[0] : ks[-1] + 1 : 2], rng)
        frames, rays = [], []
        for k in range(self.num_windows):
            wobble = rng.normal(0, 0.008, 3) * (0.0 if self.steady_crop else base.side)
            crop = SquareCrop(base.left + wobble[0], base.top + wobble[1], base.side + wobble[2])
            frames.append(
                window_frames(
                    events, crop, t0_us=int(t[k]), t1_us=int(t[k + 1]), out_px=self.size_px, kind=self.kind
                )
            )
            rays.append(crop.ray(labels.camera))
        clip = labelled_clip(labels, ks, frames, rays)
        if self.augment and rng.random() < 0.5:
            clip = mirror_clip(clip, self.rest_pelvis_x)
        return clip

    def _startable(self, path: Path, rng: np.random.Generator) -> tuple[Recording, Labels, NDArray[np.int64]]:
        """A recording, one of its people, and the labels at which a clip can start."""
        recording, people = self._recordings[path]
        labels = _draw_person(people, rng)
        if WINDOW_US % labels.step_us:
            raise FormatError(
                f"{path}: labels every {labels.step_us} us do not meet windows of {WINDOW_US // 1000} ms; "
                "simulate with a label step that divides it."
            )
        starts = labels.clip_starts(self.num_windows * (WINDOW_US // labels.step_us))
        if not len(starts) and labels.valid is None:
            raise FormatError(f"{path}: shorter than {self.num_windows} windows of {WINDOW_US // 1000} ms.")
        return recording, labels, starts

    def _another(self, rng: np.random.Generator) -> tuple[Path, Recording, Labels, NDArray[np.int64]]:
        """The next recording, in a drawn order, that holds a clip."""
        for k in rng.permutation(len(self.paths)):
            found = self._startable(self.paths[k], rng)
            if len(found[2]):
                return self.paths[k], *found
        raise FormatError(
            f"{self.paths[0].parent}: no recording has {self.num_windows} windows of {WINDOW_US // 1000} ms "
            "in a row with valid bodies; take fewer windows, or see what `prepare` says of the fits."
        )


class FlowDataset(Dataset[FlowPair]):
    """Windows with gray images at both ends for FlowNet; true flow where the recordings carry it.

    Args: as ClipDataset. Windows begin at gray-frame times.
    """

    def __init__(
        self,
        folder: str | Path | Sequence[Path],
        *,
        length: int,
        size_px: int,
        kind: str = "counts",
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        self.paths = _paths(folder)
        self.length, self.size_px, self.kind, self.seed, self.augment = length, size_px, kind, seed, augment
        self.offset = 0
        """Added to every index, to go on where an earlier run stopped."""
        self._recordings = _Recordings(self.paths)

    def close(self) -> None:
        """Close the recordings; they are opened again when a sample needs them."""
        self._recordings.close()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> FlowPair:
        if index >= self.length:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.offset + index])
        path = self.paths[int(rng.integers(len(self.paths)))]
        recording, people = self._recordings[path]
        labels = _draw_person(people, rng)
        gray = recording.frames
        if gray is None or len(gray.t_us) < 2:
            raise FormatError(
                f"{path}: FlowNet learns from gray images, and this recording has fewer than two."
            )
        k = int(rng.integers(0, len(gray.t_us) - 1))
        t0, t1 = int(gray.t_us[k]), int(gray.t_us[k + 1])
        a, b = labels.index(t0), labels.index(t1)
        crop = random_crop(labels.joints2d[a : b + 1], rng)
        events = recording.read(recording.index_at(t0), recording.index_at(t1))
        if self.augment:
            events = jitter_events(events, rng)
        frames = window_frames(events, crop, t0_us=t0, t1_us=t1, out_px=self.size_px, kind=self.kind)
        flow, valid = self._true_flow(path, t0, crop)
        return FlowPair(
            frames=torch.from_numpy(frames),
            image0=torch.from_numpy(crop.cut_image(gray[k], self.size_px).astype(np.float32)),
            image1=torch.from_numpy(crop.cut_image(gray[k + 1], self.size_px).astype(np.float32)),
            flow=torch.from_numpy(flow),
            valid=torch.from_numpy(valid),
        )

    def _true_flow(self, path: Path, t0_us: int, crop: SquareCrop) -> tuple[np.ndarray, np.ndarray]:
        import h5py

        S = self.size_px
        with h5py.File(path, "r", locking=False) as f:
            if "labels/flow" not in f:
                return np.zeros((2, S, S), np.float32), np.zeros((S, S), np.float32)
            g = f["labels/flow"]
            k = int(np.searchsorted(g["t0_us"][:], t0_us))
            uv, valid = g["uv"][k].astype(np.float32), g["valid"][k].astype(np.float32)
        scale = S / crop.side
        return (
            np.stack([crop.cut_map(c * scale, S) for c in uv]),
            crop.cut_map(valid, S),
        )
