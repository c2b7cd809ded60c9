"""Layout A: MMHPSD as EventHPE's release has it, pickles by joblib included. Written only, never read.

events_256/<seq>/eventNNNN.png             4 channels of {0, 1} in OpenCV's order: bin 0 is blue, bin 3 alpha
events_256/<seq>/<seq>_info.pkl            [frame numbers, non-zero entries of each event frame]
full_pic_256/<seq>/fullpicNNNN.jpg         gray
pose_events/<seq>/poseNNNN.pkl             (beta, theta, tran, joints3d, joints2d), see `pose_record`
pose_events/<seq>/pose_info.pkl            numbers of the frames with a pose
hmr_results/<seq>/fullpicNNNN_hmr.pkl      (joints2d, joints3d, params, tran, feature), see `noisy_estimate`
pred_flow_events_256/<seq>/flowNNNN.pkl    int16 (2, 256, 256), 100 x pixels from frame N to N + 2
train_track0802.pkl, test_track0802.pkl    [(seq, first frame)] of clips of 8 steps of 2 frames
"""

from __future__ import annotations

import io
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.data.mmhpsd_sequence import (
    CAMERA_TEXT,
    MMHPSD_CAMERA,
    MMHPSD_SIZE,
    TEST_SUBJECTS,
    FramePoses,
    SequenceReader,
    SequenceSource,
    event_frame,
)
from eventhpe.data.resumable import open_folder, write_bytes, write_once
from eventhpe.errors import ShapeError

FLOW_SCALE = 100
"""Flow files hold hundredths of pixels, cut towards zero."""

CLIP_FRAMES = 16
"""Frames between the first and the last pose of a clip: 8 steps of 2."""

HMR_POSE_SIGMA_RAD, HMR_BETA_SIGMA = 0.12, 0.5
HMR_PLACE_SIGMA_M = (0.03, 0.03, 0.10)
"""Gaussian noise that stands for the error of an image-based estimate: per component of a rotation vector,
per shape coefficient, and along x, y, z."""

_HMR_DRAWS = 15
_POSE_FILE = re.compile(r"pose(\d{4,})\.pkl")
_SEQUENCE = re.compile(r"subject(\d{2})_group\d_time\d")

README_A = f"""Synthetic sequences in the files of MMHPSD as released with EventHPE (Zou et al., ICCV 2021).
Nothing here is part of MMHPSD: bodies, events and gray images are simulated by eventhpe.

Body: beta and theta are those of the OPEN body of eventhpe, not of SMPL. Joints, angles and translations mean
the same as SMPL's; the shape coefficients do not: never use them with an SMPL model.
Camera: {CAMERA_TEXT}; poses are in its frame.
Numbers: float32. joints3d include tran; joints2d are u, v in pixels and depth in metres.
Frames without a pose are missing from pose_events. The last event frame is that before the last gray frame.

hmr_results: HMR was not run. The files hold the true pose with Gaussian noise of {HMR_POSE_SIGMA_RAD} rad on
each component of a rotation vector, {HMR_BETA_SIGMA} on shape coefficients, {HMR_PLACE_SIGMA_M} m on X, Y, Z.
params are cam = (2 f / (256 Z), X, Y), theta, beta; joints3d include tran; the feature is zero.
pred_flow_events_256: true flow of the person, zero elsewhere; nothing is predicted.
Left out: vibe_results_0802 (read only when a tracker starts from VIBE), model/ (weights).
"""


def marker_a(root: Path, name: str) -> Path:
    """The file of a sequence that is written last."""
    return root / "events_256" / name / f"{name}_info.pkl"


def write_layout_a(root: Path, reader: SequenceReader) -> Path:
    """Write one sequence and the lists of clips over all sequences that are there; what is there is kept.

    Returns:
        `marker_a` of the sequence.
    """
    name, poses = reader.source.name, reader.poses
    pictures, hmr = open_folder(root / "full_pic_256" / name), open_folder(root / "hmr_results" / name)
    for k in range(reader.num_frames):
        write_once(pictures / f"fullpic{k:04d}.jpg", encode_image, ".jpg", reader.image(k))
        write_once(hmr / f"fullpic{k:04d}_hmr.pkl", _estimate_bytes, reader.source, poses, k)
    flows = open_folder(root / "pred_flow_events_256" / name)
    for k in range(reader.num_frames - 2):
        write_once(flows / f"flow{k:04d}.pkl", _flow_bytes, reader, k)
    folder = open_folder(root / "pose_events" / name)
    for k in poses.frames:
        write_once(folder / f"pose{k:04d}.pkl", joblib_bytes, pose_record(poses, k))
    counts = []
    events = open_folder(root / "events_256" / name)
    for k in range(reader.num_frames - 1):
        frame = event_frame(reader.events(k))
        counts.append(int(frame.sum()))
        write_once(events / f"event{k:04d}.png", encode_image, ".png", frame.astype(np.uint8))
    # From here on the sequence counts for the lists, which must be there before its last file.
    write_once(folder / "pose_info.pkl", joblib_bytes, poses.frames)
    write_track_lists(root)
    marker = marker_a(root, name)
    write_once(marker, joblib_bytes, [list(range(len(counts))), counts])
    return marker


def pose_record(poses: FramePoses, k: int) -> tuple[NDArray[np.float32], ...]:
    """beta (1, 10), theta (1, 72), tran (1, 3), joints3d (24, 3), joints2d (24, 3) of frame k."""
    p = poses.params
    arrays = (p.betas[k][None], poses.theta(k), p.transl[k][None], poses.joints3d[k], poses.joints2d[k])
    return tuple(np.ascontiguousarray(a, np.float32) for a in arrays)


def noisy_estimate(source: SequenceSource, poses: FramePoses, k: int) -> tuple[NDArray[np.float32], ...]:
    """What stands for HMR's result on gray frame k: the truth with noise that only the sequence and k decide.

    Returns:
        joints2d (24, 2), joints3d (24, 3), params (85,) = camera 3, theta 72, beta 10; tran (1, 3), feature
        (2048,) of zeros.
    """
    rng = np.random.default_rng([_HMR_DRAWS, source.subject, source.group, source.time, k])
    p = poses.params
    pose = p.pose[k] + rng.normal(0, HMR_POSE_SIGMA_RAD, (24, 3))
    betas = p.betas[k] + rng.normal(0, HMR_BETA_SIGMA, 10)
    transl = p.transl[k] + rng.normal(0, HMR_PLACE_SIGMA_M)
    noisy = FramePoses.of(
        replace(
            p, betas=betas[None], global_orient=pose[None, 0], body_pose=pose[None, 1:], transl=transl[None]
        )
    )
    camera = (2 * MMHPSD_CAMERA.K[0, 0] / (MMHPSD_SIZE[1] * transl[2]), transl[0], transl[1])
    params = np.concatenate([camera, pose.ravel(), betas])
    arrays = (noisy.joints2d[0, :, :2], noisy.joints3d[0], params, transl[None], np.zeros(2048))
    return tuple(np.ascontiguousarray(a, np.float32) for a in arrays)


def pack_flow(uv: NDArray[np.floating]) -> NDArray[np.int16]:
    """(2, H, W) pixels to hundredths, cut towards zero and to what 16 bits hold."""
    limit = np.iinfo(np.int16)
    return np.clip(np.trunc(FLOW_SCALE * uv.astype(np.float64)), limit.min, limit.max).astype(np.int16)


def clip_starts(frames: list[int]) -> list[int]:
    """First frames of clips that miss no pose, by EventHPE's rule: the frame CLIP_FRAMES places further in
    the list is CLIP_FRAMES later."""
    return [a for a, b in zip(frames, frames[CLIP_FRAMES:], strict=False) if b == a + CLIP_FRAMES]


def write_track_lists(root: Path) -> None:
    """Write the lists of training and test clips over all sequences whose poses are complete.

    Several processes may add sequences to one folder: each looks again after writing, so the list that is
    written last knows all of them.
    """
    while True:
        clips = _find_clips(root)
        for split in ("train", "test"):
            chosen = [c for c in clips if (int(c[0][7:9]) in TEST_SUBJECTS) == (split == "test")]
            write_bytes(root / f"{split}_track0802.pkl", pickle.dumps(chosen, protocol=4))
        if _find_clips(root) == clips:
            return


def _find_clips(root: Path) -> list[tuple[str, int]]:
    """(sequence, first frame); from the names of the files alone, as nothing is unpickled."""
    clips = []
    for folder in sorted((root / "pose_events").iterdir()):
        if _SEQUENCE.fullmatch(folder.name) and (folder / "pose_info.pkl").exists():
            matches = (_POSE_FILE.fullmatch(p.name) for p in folder.iterdir())
            frames = sorted(int(match[1]) for match in matches if match)
            clips += [(folder.name, start) for start in clip_starts(frames)]
    return clips


def _estimate_bytes(source: SequenceSource, poses: FramePoses, k: int) -> bytes:
    return joblib_bytes(noisy_estimate(source, poses, k))


def _flow_bytes(reader: SequenceReader, k: int) -> bytes:
    return joblib_bytes(pack_flow(reader.flow(k)), compress=True)


def encode_image(suffix: str, image: NDArray[np.uint8]) -> bytes:
    """An image file as OpenCV writes it."""
    ok, buffer = cv2.imencode(suffix, np.ascontiguousarray(image))
    if not ok:
        raise ShapeError(f"cannot encode an image of shape {image.shape} as {suffix}.")
    return buffer.tobytes()


def joblib_bytes(value: Any, *, compress: bool = False) -> bytes:
    """A joblib pickle of arrays, tuples, lists and whole numbers."""
    import joblib

    buffer = io.BytesIO()
    joblib.dump(value, buffer, compress=("zlib", 3) if compress else 0, protocol=4)
    return buffer.getvalue()
