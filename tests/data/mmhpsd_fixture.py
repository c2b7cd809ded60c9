"""A short recording that can be a sequence of MMHPSD, and a reader of joblib's pickles that trusts nobody."""

from __future__ import annotations

import pickle
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from eventhpe.body.fk import body_joints
from eventhpe.body.params import BodyParams
from eventhpe.data.cast import rest_joints
from eventhpe.data.labels import Labels, write_labels
from eventhpe.data.mmhpsd_sequence import MMHPSD_CAMERA
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events

FRAME_US, LABEL_US = 66_666, 11_111
NUM_FRAMES = 19
"""Frames 0 to 18: clips of 17 frames start at 0, 1 and 2."""

EMPTY, SINGLE, AT_ONCE = 3, 4, 5
"""Intervals with no event, with one, and with three at the same time."""

UPRIGHT = np.array([3.0, 0.0, 0.0])
"""Root rotation of a person who faces the camera (y down, z forward), leaning: pi itself has two vectors."""


def moving_params() -> BodyParams:
    """Somebody who walks sideways, waves the right arm and bends a knee; all label times, camera frame."""
    K = (NUM_FRAMES - 1) * FRAME_US // LABEL_US + 1
    s = np.linspace(0, 1, K)[:, None]
    pose = np.zeros((K, 23, 3))
    pose[:, 16, 2] = np.linspace(0.2, 1.3, K)  # right shoulder
    pose[:, 3, 0] = np.linspace(0.0, 0.8, K)  # left knee
    betas = np.random.default_rng(1).normal(size=10)
    return BodyParams(
        betas=np.broadcast_to(betas, (K, 10)),
        global_orient=np.broadcast_to(UPRIGHT, (K, 3)),
        body_pose=pose,
        transl=np.array([-0.3, 0.1, 3.2]) + s * [0.6, 0.0, -0.3],
    )


def labels_of(params: BodyParams) -> Labels:
    joints = body_joints(params, rest_joints(params.betas[0]))
    return Labels(
        t_us=np.arange(len(joints), dtype=np.int64) * LABEL_US,
        params=params,
        joints3d=joints.astype(np.float32),
        joints2d=MMHPSD_CAMERA.project(joints).astype(np.float32),
        camera=replace(
            MMHPSD_CAMERA, R_world_to_cam=np.diag([1.0, -1.0, -1.0]), t_world_to_cam=np.array([0, 1.0, 3.2])
        ),
    )


def some_events(size: tuple[int, int] = (256, 256)) -> Events:
    """Random events over all intervals but the special ones."""
    rng = np.random.default_rng(2)
    t = rng.integers(0, (NUM_FRAMES - 1) * FRAME_US, 12_000)
    t = t[~np.isin(t // FRAME_US, (EMPTY, SINGLE, AT_ONCE))]
    t = np.sort(np.concatenate([t, [SINGLE * FRAME_US + 500], [AT_ONCE * FRAME_US + 900] * 3]))
    n = len(t)
    return Events.from_columns(
        t, rng.integers(0, size[1], n), rng.integers(0, size[0], n), rng.integers(0, 2, n), size
    )


def gray_image(k: int, size: tuple[int, int] = (256, 256)) -> np.ndarray:
    """A smooth image that differs between frames."""
    y, x = np.mgrid[: size[0], : size[1]]
    return (60 + 5 * k + x // 4 + y // 8).astype(np.uint8)


def write_sequence_recording(
    path: Path,
    labels: Labels | list[Labels],
    *,
    size: tuple[int, int] = (256, 256),
    step_us: int = FRAME_US,
    num_frames: int = NUM_FRAMES,
) -> Path:
    with StoreWriter(path, size, duration_us=(NUM_FRAMES - 1) * FRAME_US) as writer:
        writer.append(some_events(size))
        for k in range(num_frames):
            writer.append_frame(k * step_us, gray_image(k, size))
        write_labels(writer.file, labels)
    return path


class _Array:
    """What joblib leaves in a pickle for an array, whose bytes follow right behind."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.fields = state

    def read(self, file: BinaryIO) -> np.ndarray:
        f = self.fields
        if f["numpy_array_alignment_bytes"] is not None:
            file.read(file.read(1)[0])
        count = int(np.prod(f["shape"], dtype=np.int64))
        flat = np.frombuffer(file.read(count * f["dtype"].itemsize), f["dtype"])
        return flat.reshape(f["shape"], order=f["order"])


class _Restricted(pickle._Unpickler):  # type: ignore[name-defined]  # the pure Python one, whose steps can be changed
    """Knows arrays and plain Python; everything else is an error."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    known: ClassVar[dict[tuple[str, str], Any]] = {
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): _Array,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.file = file

    def find_class(self, module: str, name: str) -> Any:
        assert (module, name) in self.known, f"{module}.{name} has no place in these files"
        return self.known[module, name]

    def load_build(self) -> None:
        super().load_build()
        if isinstance(self.stack[-1], _Array):
            self.stack[-1] = self.stack[-1].read(self.file)

    dispatch[pickle.BUILD[0]] = load_build


def read_joblib(path: Path) -> Any:
    """A joblib pickle, plain or compressed with zlib, without joblib."""
    import io

    content = path.read_bytes()
    if content[:1] == b"\x78":  # zlib
        content = zlib.decompress(content)
    return _Restricted(io.BytesIO(content)).load()
