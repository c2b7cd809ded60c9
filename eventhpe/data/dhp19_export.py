"""Synthetic recordings in the files and folders of DHP19, for everything that reads DHP19.

What is simultaneous: time 0 of the four recordings, row 0 of the markers, and the start trigger. The rest
follows from one length: the recordings end at slightly different times, and the shortest decides. What the
others hold after that is left out (a frame of DHP19 counts the events of all cameras, so none may fall silent
alone), the stop trigger comes at this end, and the markers go up to the row nearest to it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from numpy.typing import ArrayLike, NDArray

from eventhpe.atomic import PendingFile, remove_leftovers
from eventhpe.data.dhp19 import MOVEMENTS_PER_SESSION, DHP19Movement
from eventhpe.data.dhp19_cameras import (
    CAMERA_POSITIONS_MM,
    CHANNEL_TO_CAMERA,
    DHP19_SIZE,
    PROJECTION_MATRICES,
    dhp19_camera,
    world_to_dhp19,
)
from eventhpe.data.labels import read_labels
from eventhpe.errors import CalibrationError, FormatError, ShapeError, UnitError
from eventhpe.events.formats.multidavis_writer import MultiDavisWriter, merge_streams
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.events.store import STORE_FORMAT
from eventhpe.events.types import Events, RawEvents

VICON_FIELDS = (
    "head", "shoulderR", "shoulderL", "elbowR", "elbowL", "hipR", "hipL",
    "handR", "handL", "kneeR", "kneeL", "footR", "footL",
)  # fmt: skip
"""Fields of XYZPOS in the order of `DHP19_SKELETON`'s joints."""

MARKER_STEP_US = 10_000
"""Vicon runs at 100 Hz."""

Markers = Callable[[NDArray[np.int64]], ArrayLike] | ArrayLike

# DHP19's background filter lets everything pass before this time of the file's clock.
_FILTER_START_US = 70_000
_READ_BLOCK = 1 << 17  # events
_COMMENT = "synthetic recording in the format of DHP19; not part of DHP19"
_MAT_HEADER = b"MATLAB 5.0 MAT-file, synthetic markers in the format of DHP19, written by eventhpe"
_CORNERS_M = np.array([(x, y, z) for x in (-1.0, 1.0) for y in (0.0, 2.0) for z in (-1.0, 1.0)])


def trigger_times(case: int, end_us: int) -> tuple[int, ...]:
    """Times of the special events of a recording with its motion from 0 to end_us, by their number.

    1: the start. 2: the start and 1 µs later, as in most of DHP19. 3: these and the stop, the next most
    frequent. 4 and 5: 2 and 3 with the start told three times. 0: none, as in S14_5_3; readers then take the
    first event for the start.

    Raises:
        FormatError: another number; DHP19's own code skips recordings with more than five.
    """
    start, stop = (0, 1), (end_us,)
    cases = ((), (0,), start, start + stop, (0, 0, *start), (0, 0, *start, *stop))
    if not 0 <= case < len(cases):
        raise FormatError(
            f"specials must be 0 to 5, or times; DHP19's code skips other recordings; got {case}."
        )
    return cases[case]


def export_dhp19(
    root: str | Path,
    *,
    subject: int,
    session: int,
    movement: int,
    recordings: Mapping[int, Path],
    markers: Markers,
    t_start_us: int = 200_000_000,
    specials: int | Sequence[int] = 2,
    overwrite: bool = False,
) -> DHP19Movement:
    """Write one movement as DHP19 has it, and the matrices of the cameras if they are not there.

        DVS_movies/S{s}/session{e}/mov{m}.aedat    events of the four cameras, special events
        Vicon_data/S{s}_{e}_{m}.mat                struct XYZPOS, 13 fields of N x 3 float64 millimetres
        P_matrices/P1.npy ... P4.npy, camera_positions.npy

    Every file appears when it is complete, the events last, so that a movement that `find_movements` finds
    has its labels. Equal arguments give equal bytes. Memory holds a few blocks of events.

    Args:
        root: folder of the data set; it is made if it does not exist.
        subject, session, movement: 1..17, 1..5, 1..8 (6, 6, 6, 7 in sessions 2 to 5).
        recordings: channel 0..3 -> recording of ours (HDF5), 346x260, made with `dhp19_camera(channel)`, all
            of one motion that begins at time 0.
        markers: (N, 13, 3) metres in our world in the order of `DHP19_SKELETON`, row n at n x 10 ms; or what
            gives them for times (N,) µs. Rows after the end of the recordings are left out; NaN marks
            dropouts.
        t_start_us: time 0 on the file's clock, above 70,000 µs. Real recordings have 1.4e8 to 1.1e9.
        specials: number of special events, see `trigger_times`; or their times in µs from time 0,
            non-decreasing.
        overwrite: replace a movement that is there.
    Returns:
        The movement with its two files.
    Raises:
        FormatError: no such movement in DHP19; recordings that are not ours, of another size, without events,
            or not exactly one per channel; impossible special events; a movement that is there.
        CalibrationError: a recording's labels tell another camera or a moving one, or the matrices that are
            there are others.
        ShapeError: markers of another shape, too few, or infinite.
        UnitError: t_start_us too early, or too late for 32 bits.
    """
    root = Path(root)
    target = _target(root, subject, session, movement)
    if sorted(recordings) != sorted(CHANNEL_TO_CAMERA):
        raise FormatError(f"recordings must have one for each channel 0 to 3; got {sorted(recordings)}.")
    if target.events.exists() and not overwrite:
        raise FormatError(f"{target.events}: exists already; use overwrite=True to replace this movement.")
    with ExitStack() as stack:
        streams = {
            channel: stack.enter_context(_open(Path(recordings[channel]), channel))
            for channel in sorted(recordings)
        }
        end_us = min(recording.end_us for recording in streams.values())
        if not _FILTER_START_US < t_start_us < (1 << 32) - 1 - end_us:
            raise UnitError(
                f"t_start_us must lie above {_FILTER_START_US} µs, before which DHP19's noise filter does "
                f"not work, and leave room for {end_us} µs below 2^32; got {t_start_us}."
            )
        times = _special_times(specials, end_us, t_start_us)
        xyz_mm = _marker_rows(markers, end_us)
        labels = _mat_bytes(xyz_mm)
        if target.labels.exists() and not overwrite and target.labels.read_bytes() != labels:
            # What an interrupted export has left would be the same.
            raise FormatError(
                f"{target.labels}: other labels exist already; use overwrite=True to replace this movement."
            )
        write_matrices(root)
        for path in (target.events, target.labels):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path)
        with MultiDavisWriter(target.events, t_offset_us=t_start_us, comment=_COMMENT) as writer:
            blocks = {channel: _blocks(recording, end_us) for channel, recording in streams.items()}
            _write_events(writer, merge_streams(blocks), times)
            _write_bytes(target.labels, labels)
    return target


def write_matrices(root: str | Path) -> Path:
    """Write P_matrices/ under `root` where its files are not there; returns the folder.

    Raises:
        CalibrationError: a file is there with other numbers.
    """
    folder = Path(root) / "P_matrices"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"P{k}": P for k, P in PROJECTION_MATRICES.items()} | {"camera_positions": CAMERA_POSITIONS_MM}
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        if not path.exists():
            _write_bytes(path, buffer.getvalue())
        elif path.read_bytes() != buffer.getvalue():
            raise CalibrationError(
                f"{path}: holds other numbers than those published with DHP19, for which the recordings are "
                "made. Export into another folder."
            )
    return folder


def _target(root: Path, subject: int, session: int, movement: int) -> DHP19Movement:
    ranges = {"subject": (subject, 17), "session": (session, 5)}
    if 1 <= session <= 5:
        ranges["movement"] = (movement, MOVEMENTS_PER_SESSION[session - 1])
    for name, (number, last) in ranges.items():
        if not 1 <= number <= last:
            raise FormatError(f"{name} must be 1 to {last} in DHP19 (session {session}); got {number}.")
    events = root / "DVS_movies" / f"S{subject}" / f"session{session}" / f"mov{movement}.aedat"
    labels = root / "Vicon_data" / f"S{subject}_{session}_{movement}.mat"
    return DHP19Movement(subject, session, movement, events, labels)


def _open(path: Path, channel: int) -> Recording:
    recording = open_recording(path)
    try:
        if recording.format != STORE_FORMAT:
            raise FormatError(
                f"{path}: is {recording.format}; only recordings of ours (HDF5) state the time 0 that all "
                "four cameras share."
            )
        if recording.sensor_size != DHP19_SIZE or not recording.num_events:
            raise FormatError(
                f"{path}: DHP19's cameras have (H, W) = {DHP19_SIZE}; got {recording.sensor_size} with "
                f"{recording.num_events} events."
            )
        _check_camera(path, channel)
    except BaseException:
        recording.close()
        raise
    return recording


def _check_camera(path: Path, channel: int) -> None:
    """A recording that tells its camera must have been made with this channel's."""
    with h5py.File(path, "r", locking=False) as file:
        if "labels" not in file:
            return
    labels, expected = read_labels(path), dhp19_camera(channel)
    if labels.track is not None:
        raise CalibrationError(f"{path}: was made with a camera that moves; those of DHP19 stand still.")
    pixels = [camera.project(camera.to_camera_frame(_CORNERS_M)) for camera in (labels.camera, expected)]
    apart = np.linalg.norm(pixels[0] - pixels[1], axis=-1).max()
    if not apart < 0.1:  # NaN: behind the camera
        raise CalibrationError(
            f"{path}: was made with another camera than dhp19_camera({channel}): the corners of DHP19's "
            f"volume lie up to {apart:.1f} px apart. Check which recording belongs to which channel."
        )


def _special_times(specials: int | Sequence[int], end_us: int, t_start_us: int) -> tuple[int, ...]:
    if isinstance(specials, int):
        return trigger_times(specials, end_us)
    times = tuple(int(t) for t in specials)
    if list(times) != sorted(times) or any(not 0 < t_start_us + t < 1 << 32 for t in times):
        raise FormatError(
            f"specials must not decrease and must fit into the file's 32-bit clock; got {times}."
        )
    return times


def _marker_rows(markers: Markers, end_us: int) -> NDArray[np.float64]:
    """(N, 13, 3) millimetres in DHP19's world, from time 0 to the row nearest to the end."""
    rows = (end_us + MARKER_STEP_US // 2) // MARKER_STEP_US + 1
    if callable(markers):
        markers = markers(np.arange(rows, dtype=np.int64) * MARKER_STEP_US)
    xyz = np.asarray(markers, np.float64)
    if xyz.ndim != 3 or xyz.shape[1:] != (len(VICON_FIELDS), 3):
        raise ShapeError(f"markers must be (N, {len(VICON_FIELDS)}, 3); got {xyz.shape}.")
    needed = end_us // MARKER_STEP_US + 1
    if len(xyz) < needed:
        raise ShapeError(
            f"markers must cover the recordings: {end_us} µs need {needed} rows, one each "
            f"{MARKER_STEP_US} µs; got {len(xyz)}."
        )
    if np.isinf(xyz).any():
        raise ShapeError("markers hold infinite values; mark dropouts with NaN.")
    return world_to_dhp19(xyz[:rows])


def _mat_bytes(xyz_mm: NDArray[np.float64]) -> bytes:
    """A MATLAB 5 file with the struct XYZPOS."""
    buffer = io.BytesIO()
    fields = {name: np.ascontiguousarray(xyz_mm[:, j]) for j, name in enumerate(VICON_FIELDS)}
    scipy.io.savemat(buffer, {"XYZPOS": fields})
    # SciPy writes the date into the 116 bytes of free text; equal markers shall give equal files.
    return _MAT_HEADER.ljust(116) + buffer.getvalue()[116:]


def _write_bytes(path: Path, content: bytes) -> None:
    with PendingFile(path) as pending:
        pending.temporary.write_bytes(content)


def _blocks(recording: Recording, end_us: int) -> Iterator[Events]:
    """Events before the end, block by block."""
    end = recording.index_at(end_us)
    for i in range(0, end, _READ_BLOCK):
        yield recording.read(i, min(i + _READ_BLOCK, end))


def _write_events(writer: MultiDavisWriter, merged: Iterator[RawEvents], specials: Sequence[int]) -> None:
    """Events, with special events before those of the same time."""
    waiting = list(specials)
    for events in merged:
        done = 0
        while waiting and waiting[0] <= int(events.t[-1]):
            upto = int(np.searchsorted(events.t, waiting[0], side="left"))
            _append(writer, events, done, upto)
            writer.special(waiting.pop(0))
            done = upto
        _append(writer, events, done, len(events))
    for t_us in waiting:
        writer.special(t_us)


def _append(writer: MultiDavisWriter, events: RawEvents, i: int, j: int) -> None:
    writer.append_merged(events.t[i:j], events.x[i:j], events.y[i:j], events.p[i:j], events.camera[i:j])
