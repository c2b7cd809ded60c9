"""A synthetic recording seen as a sequence of MMHPSD: events between gray frames, poses at gray frames.

MMHPSD (Zou et al., ICCV 2021): gray frames at 15 per second, events and poses on a 256 x 256 grid. Pose k
stands at gray frame k; event frame k holds the events from gray frame k to k + 1.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from eventhpe.body.fk import body_joints
from eventhpe.body.params import BodyParams
from eventhpe.body.retarget import mirror, resample
from eventhpe.data.cast import rest_joints
from eventhpe.data.labels import Labels, num_people, read_labels
from eventhpe.data.truth import Truth
from eventhpe.errors import CalibrationError, FormatError, ShapeError
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.events.store import STORE_FORMAT
from eventhpe.events.store_writer import CHECKSUM
from eventhpe.events.types import Events, GrayFrames
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import SMPL_SKELETON

MMHPSD_SIZE = (256, 256)

MMHPSD_CAMERA = Camera(
    K=np.array([[1679.3 / 5, 0.0, 641.0 / 5], [0.0, 1679.3 / 5, 641.0 / 5], [0.0, 0.0, 1.0]]),
    size=MMHPSD_SIZE,
)
"""EventHPE's constants: focal length 1679.3 and centre 641 on 1280 x 1280 pixels, here on 256 x 256."""

CAMERA_TEXT = (
    f"fx = fy = {MMHPSD_CAMERA.K[0, 0]:.2f}, cx = cy = {MMHPSD_CAMERA.K[0, 2]:.2f} at 256 x 256, "
    "no distortion"
)

MMHPSD_FRAME_US = 66_667
"""15 gray frames a second."""

TEST_SUBJECTS = (1, 2, 7)
"""Test subjects of EventHPE's ShapeNet and its successors; the other twelve are for training."""

NUM_SUBJECTS, NUM_GROUPS, NUM_TIMES = 15, 3, 4

NUM_BINS = 4
"""Time bins of one event frame."""

LEAST_JOINTS = 12
"""A frame has a pose when at least so many of the 24 joints are in the image."""

_STEP_TOLERANCE_US = 100


@dataclass(frozen=True)
class SequenceSource:
    """What one sequence is made of.

    Attributes:
        recording: recording of ours (HDF5) with one labelled person, made with `MMHPSD_CAMERA` standing still
            and gray frames at 15 per second.
        subject, group, time: 1..15, 1..3, 1..4; they name the sequence.
        missing: gray frames that get no pose, as where the authors' fit failed.
    """

    recording: Path
    subject: int
    group: int
    time: int
    missing: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, last in (("subject", NUM_SUBJECTS), ("group", NUM_GROUPS), ("time", NUM_TIMES)):
            if not 1 <= getattr(self, name) <= last:
                raise FormatError(
                    f"SequenceSource.{name} must be 1 to {last} in MMHPSD; got {getattr(self, name)}."
                )
        if any(k < 0 for k in self.missing):
            raise FormatError(f"SequenceSource.missing must be numbers of frames >= 0; got {self.missing}.")

    @property
    def name(self) -> str:
        """`subjectXX_groupY_timeZ`."""
        return sequence_name(self.subject, self.group, self.time)


def sequence_name(subject: int, group: int, time: int) -> str:
    """`subjectXX_groupY_timeZ`."""
    return f"subject{subject:02d}_group{group}_time{time}"


def check_frame_step(step_us: int, where: str) -> None:
    """Refuse gray frames that do not come at 15 per second.

    Raises:
        FormatError: they do not.
    """
    if abs(step_us - MMHPSD_FRAME_US) > _STEP_TOLERANCE_US:
        raise FormatError(
            f"{where}: gray frames every {step_us} us; MMHPSD has 15 per second. Simulate with "
            "frame_step_us=66_666 and label_step_us=11_111."
        )


@dataclass(frozen=True)
class FramePoses:
    """Poses at the F gray frames of a sequence.

    Attributes:
        valid: (F,) bool; frames without a pose carry numbers that are not to be written.
        params: BodyParams over F of the open body, camera frame.
        joints3d: (F, 24, 3) metres, camera frame, translation included.
        joints2d: (F, 24, 3) u and v in pixels of the 256 x 256 grid, and depth in metres.
    """

    valid: NDArray[np.bool_]
    params: BodyParams
    joints3d: NDArray[np.float64]
    joints2d: NDArray[np.float64]

    @classmethod
    def of(cls, params: BodyParams, valid: NDArray[np.bool_] | None = None) -> FramePoses:
        """Poses of one body with their joints; valid where LEAST_JOINTS are in the image unless told."""
        joints = body_joints(params, rest_joints(params.betas[0]))
        uv = MMHPSD_CAMERA.project(joints)
        H, W = MMHPSD_SIZE
        inside = (uv > -0.5).all(-1) & (uv < (W - 0.5, H - 0.5)).all(-1)  # False where NaN: behind the camera
        if valid is None:
            valid = inside.sum(-1) >= LEAST_JOINTS
        return cls(valid, params, joints, np.concatenate([uv, joints[..., 2:]], -1))

    @property
    def frames(self) -> list[int]:
        """Numbers of the frames that have a pose."""
        return [int(k) for k in np.flatnonzero(self.valid)]

    def theta(self, k: int) -> NDArray[np.float64]:
        """(1, 72) rotation vectors of frame k, root first."""
        return self.params.pose[k].reshape(1, 3 * len(SMPL_SKELETON.joints))

    def mirrored(self) -> FramePoses:
        """The poses seen in a mirror at the camera's plane x = 0, left and right exchanged.

        Convention:
            2D joints are projected from the mirrored body with the same camera. An image with reversed
            columns shows them 2 cx - 255 = 1.4 px further left, as the camera's centre is not the image's.
        """
        params = mirror(self.params)
        transl = params.transl.copy()
        transl[:, 0] -= 2 * rest_joints(params.betas[0])[0, 0]  # SMPL's translation starts at the rest pelvis
        return FramePoses.of(replace(params, transl=transl), self.valid)


def event_frame(events: Events) -> NDArray[np.bool_]:
    """EventHPE's event frame of one interval between gray frames.

    Args:
        events: N events of the interval.
    Returns:
        (H, W, 4) bool: which pixels fired in each of four equal parts of the time from first to last event.
    Convention:
        As published: the parts follow the events, not the interval; events at the time of the last event fall
        out; polarity and number are dropped. (`events.frames.binary_bins` has bins on the interval itself.)
    """
    frame = np.zeros((*events.sensor_size, NUM_BINS), bool)
    if events.duration_us:
        bins = NUM_BINS * (events.t - events.t[0]) // events.duration_us
        kept = bins < NUM_BINS
        frame[events.y[kept], events.x[kept], bins[kept]] = True
    return frame


class SequenceReader:
    """A recording opened as a sequence; use it as a context manager.

    Attributes:
        source: what was opened.
        t_us: (F,) times of the gray frames.

    Raises:
        FormatError: not a recording of ours on 256 x 256 pixels with gray frames at 15 per second, or not
            exactly one person labelled over all of them.
        CalibrationError: another camera than `MMHPSD_CAMERA`, or one that moves.
        ShapeError: labels of another body model than the open one.
    """

    def __init__(self, source: SequenceSource) -> None:
        self.source = source
        with ExitStack() as stack:
            self._recording = stack.enter_context(open_recording(source.recording))
            self._labels = read_labels(source.recording)
            self._gray = _checked(source, self._recording, self._labels)
            self._truth = stack.enter_context(Truth(source.recording))
            self._stack = stack.pop_all()
        self.t_us = self._gray.t_us

    def __enter__(self) -> SequenceReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def num_frames(self) -> int:
        """F."""
        return len(self.t_us)

    def image(self, k: int) -> NDArray[np.uint8]:
        """(256, 256) gray frame k."""
        return self._gray[k]

    def events(self, k: int) -> Events:
        """Events from gray frame k to gray frame k + 1, k up to F - 2."""
        return self._recording.between(int(self.t_us[k]), int(self.t_us[k + 1]))

    @cached_property
    def poses(self) -> FramePoses:
        """Poses at the gray frames."""
        poses = FramePoses.of(resample(self._labels.params, self._labels.t_us, self.t_us))
        kept = ~np.isin(np.arange(self.num_frames), self.source.missing)
        return replace(poses, valid=poses.valid & kept)

    def flow(self, k: int) -> NDArray[np.float32]:
        """(2, 256, 256) pixels from gray frame k to k + 2, k up to F - 3; zero beside the person (the camera
        stands still)."""
        field = self._truth.flow(int(self.t_us[k]), int(self.t_us[k + 2]))
        return np.where(field.valid, field.uv, np.float32(0))

    def fingerprint(self) -> str:
        """Checksum of the recording's events, gray frames and labels, and of the missing frames."""
        digest = xxhash.xxh3_64()
        with h5py.File(self.source.recording, "r", locking=False) as file:
            for name in ("events/t", "events/x", "events/y", "events/p", "frames/t", "frames/data"):
                digest.update(str(file[name].attrs.get(CHECKSUM, "")).encode())
        p = self._labels.params
        for array in (self._labels.t_us, p.betas, p.pose, p.transl, np.array(self.source.missing, np.int64)):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def _checked(source: SequenceSource, recording: Recording, labels: Labels) -> GrayFrames:
    """The gray frames of a recording that can be a sequence."""
    path = source.recording
    if recording.format != STORE_FORMAT or recording.sensor_size != MMHPSD_SIZE:
        raise FormatError(
            f"{path}: must be a recording of ours (HDF5) with (H, W) = {MMHPSD_SIZE}; got {recording.format} "
            f"with {recording.sensor_size}."
        )
    people, gray = num_people(path), recording.frames
    if people != 1:
        raise FormatError(f"{path}: MMHPSD shows one person; {people} are labelled here.")
    if gray is None or len(gray) < 3:
        raise FormatError(
            f"{path}: a sequence needs at least 3 gray frames; got {0 if gray is None else len(gray)}."
        )
    steps = np.diff(gray.t_us)
    check_frame_step(int(steps[np.argmax(np.abs(steps - MMHPSD_FRAME_US))]), str(path))
    if gray.t_us[0] < labels.t_us[0] or gray.t_us[-1] > labels.t_us[-1]:
        raise FormatError(
            f"{path}: gray frames from {gray.t_us[0]} to {gray.t_us[-1]} us, but labels only from "
            f"{labels.t_us[0]} to {labels.t_us[-1]} us."
        )
    if labels.params.model != "open":
        raise ShapeError(f"{path}: labels must be of body model 'open'; got {labels.params.model!r}.")
    if labels.track is not None:
        raise CalibrationError(f"{path}: was made with a camera that moves; that of MMHPSD stands still.")
    if not np.allclose(labels.camera.K, MMHPSD_CAMERA.K, atol=0.01) or labels.camera.dist.any():
        raise CalibrationError(
            f"{path}: was made with K = {labels.camera.K.tolist()}, dist = {labels.camera.dist.tolist()}; "
            f"readers of MMHPSD take its constants for granted ({CAMERA_TEXT}). Simulate with MMHPSD_CAMERA."
        )
    return gray
