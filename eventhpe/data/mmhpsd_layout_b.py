"""Layout B: the later release of MMHPSD, used by the SNN tracker and EvHuman.

mmhpsd_events/<seq>/events/events_NNNN.npz             xy (N, 2) column and row, t (N,) us, p (N,)
mmhpsd_events/<seq>/events_frame_04/events_NNNN.npz    events_frame (32768,), packed bits of (256, 256, 4)
mmhpsd_events/<seq>/poses/pose_NNNN.npz                joints3d, joints2d (24, 3), trans (1, 3),
                                                       body_pose (1, 72), beta (1, 10)
mmhpsd_events/<seq>/poses_flip/pose_NNNN.npz           the same of the mirrored body
mmhpsd_grayscale_img/<seq>/imgs/fullpicNNNN.jpg        gray
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.mmhpsd_layout_a import encode_image, pose_record
from eventhpe.data.mmhpsd_sequence import (
    CAMERA_TEXT,
    MMHPSD_CAMERA,
    MMHPSD_SIZE,
    NUM_BINS,
    FramePoses,
    SequenceReader,
    event_frame,
)
from eventhpe.data.resumable import open_folder, write_once
from eventhpe.errors import ShapeError
from eventhpe.events.types import Events

README_B = f"""Synthetic sequences in the files of MMHPSD's later release (SNN tracker, EvHuman).
Nothing here is part of MMHPSD: bodies, events and gray images are simulated by eventhpe.

Body: beta and body_pose are those of the OPEN body of eventhpe, not of SMPL. Joints, angles and translations
mean the same as SMPL's; the shape coefficients do not: never use them with an SMPL model.
Camera: {CAMERA_TEXT}; poses are in its frame.
Numbers: float32. joints3d include trans; joints2d are u, v in pixels and depth in metres.
Frames without a pose are missing from poses and poses_flip.

events: those between gray frames N and N + 1. xy uint16, t int64 in microseconds from the beginning of the
sequence, p uint8, 1 = brighter.
events_frame_04: np.unpackbits(events_frame).reshape(256, 256, 4), four equal parts of the time from an
interval's first event to its last, polarity dropped.
poses_flip: the body mirrored at x = 0 of the camera. Its joints2d are projected with the same camera, so an
image with reversed columns shows them {2 * MMHPSD_CAMERA.K[0, 2] - 255:.1f} px further left.
Left out: events_synthesis_frame_04 (all events are simulated here).
"""


def marker_b(root: Path, name: str) -> Path:
    """The file of a sequence that is written last: its first gray frame."""
    return root / "mmhpsd_grayscale_img" / name / "imgs" / "fullpic0000.jpg"


def write_layout_b(root: Path, reader: SequenceReader) -> Path:
    """Write one sequence; what is there is kept.

    Returns:
        `marker_b` of the sequence.
    """
    name = reader.source.name
    folder = root / "mmhpsd_events" / name
    raw, packed = open_folder(folder / "events"), open_folder(folder / "events_frame_04")
    for k in range(reader.num_frames - 1):
        events = reader.events(k)
        write_once(raw / f"events_{k:04d}.npz", _event_bytes, events)
        write_once(packed / f"events_{k:04d}.npz", _frame_bytes, events)
    for kind, poses in (("poses", reader.poses), ("poses_flip", reader.poses.mirrored())):
        target = open_folder(folder / kind)
        for k in poses.frames:
            write_once(target / f"pose_{k:04d}.npz", _pose_bytes, poses, k)
    marker = marker_b(root, name)
    open_folder(marker.parent)
    for k in reversed(range(reader.num_frames)):
        write_once(marker.with_name(f"fullpic{k:04d}.jpg"), encode_image, ".jpg", reader.image(k))
    return marker


def pack_frame(frame: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(256, 256, 4) bool to (32768,) uint8, eight entries a byte in C order, the first in the highest bit."""
    expected = (*MMHPSD_SIZE, NUM_BINS)
    if frame.shape != expected or frame.dtype != np.bool_:
        raise ShapeError(f"an event frame must be {expected} bool; got {frame.shape} {frame.dtype}.")
    return np.packbits(frame)


def unpack_frame(packed: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(256, 256, 4) bool from `pack_frame`'s bytes, which are also those of the published `events_frame`.

    Raises:
        ShapeError: not 32,768 bytes.
    """
    expected = (*MMHPSD_SIZE, NUM_BINS)
    if packed.shape != (np.prod(expected) // 8,) or packed.dtype != np.uint8:
        raise ShapeError(f"events_frame must be (32768,) uint8; got {packed.shape} {packed.dtype}.")
    return np.unpackbits(packed).reshape(expected).astype(bool)


def _event_bytes(events: Events) -> bytes:
    return npz_bytes(xy=np.stack([events.x, events.y], axis=-1), t=events.t, p=events.p)


def _frame_bytes(events: Events) -> bytes:
    return npz_bytes(events_frame=pack_frame(event_frame(events)))


def _pose_bytes(poses: FramePoses, k: int) -> bytes:
    beta, theta, trans, joints3d, joints2d = pose_record(poses, k)
    return npz_bytes(joints3d=joints3d, joints2d=joints2d, trans=trans, body_pose=theta, beta=beta)


def npz_bytes(**arrays: NDArray[np.generic]) -> bytes:
    """A compressed .npz file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # NumPy's stub takes names for its own options
    return buffer.getvalue()
