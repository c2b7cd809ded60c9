"""What DAVIS cameras write into AEDAT 2.0 beside events: APS frames, IMU samples, external inputs.

A frame is two reads of every pixel, reset and signal, in one word each, mixed with all other words. Its
gray value is reset minus signal (10 bit), clipped to 0..1023 and divided by 4. An IMU sample is seven words
with one time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.events import kernels_aedat as kernels
from eventhpe.events.blocks import Checkpoint, Frame, Side
from eventhpe.events.formats.aedat2_words import STEP, read_exactly

#: jAER's ranges as long as nobody changes them: LSB per g (4 g) and per deg/s (500 deg/s).
DEFAULT_SCALES = (8192.0, 65.5)
_ELEMENTS = (
    ("APS words", kernels.APS_WORDS),
    ("IMU words", kernels.IMU_WORDS),
    ("special words", kernels.SPECIAL_WORDS),
)


class DavisWords:
    """Frames and IMU samples in progress; the state travels in checkpoints, so they may lie across blocks.

    Args:
        cameras: number of cameras in the file.
        numbers: what `numbers()` gave, or () at the start of the file.
    """

    def __init__(self, cameras: int, numbers: Checkpoint) -> None:
        self._frames = np.zeros((cameras, kernels.FRAME_STATE_SIZE), np.int64)
        self._frames[:, kernels.FIRST_ADDRESS] = -1
        self._imu = np.zeros(kernels.IMU_STATE_SIZE, np.int64)
        if numbers:
            self._imu[:] = numbers[: kernels.IMU_STATE_SIZE]
            self._frames.reshape(-1)[:] = numbers[kernels.IMU_STATE_SIZE :]

    def numbers(self) -> Checkpoint:
        """The state as plain integers."""
        return (*self._imu.tolist(), *self._frames.reshape(-1).tolist())

    def collect(
        self,
        records: NDArray[np.uint64],
        layout: NDArray[np.int64],
        other: NDArray[np.int64],
        other_t: NDArray[np.int64],
        first_record: int,
        scales: tuple[float, float] | None,
        side: Side,
    ) -> None:
        """Add what the (m,) words `other` of a block hold to `side`.

        Args:
            scales: LSB per g and LSB per deg/s; None: not told by the file.
        """
        m = len(other)
        trigger_t, trigger_value = np.empty(m, np.int64), np.empty(m, np.uint8)
        imu_t, imu_values = np.empty(m, np.int64), np.empty((m, 7), np.int16)
        frames, counters = np.empty((m, 4), np.int64), np.zeros(kernels.COUNTERS, np.int64)
        triggers, samples, complete = kernels.collect_davis(
            records, layout, other, other_t, first_record, camera_bits(len(self._frames)), self._frames,
            self._imu, counters, trigger_t, trigger_value, imu_t, imu_values, frames,
        )  # fmt: skip
        side.add_triggers(trigger_t[:triggers], trigger_value[:triggers])
        if samples:
            _add_imu(imu_t[:samples], imu_values[:samples], scales, side)
        for t, record, number, camera in frames[:complete].tolist():
            side.frames.append(Frame(t, (record, number, camera), camera))
        for name, k in _ELEMENTS:
            if counters[k]:
                side.elements[name] += int(counters[k])
        side.lose("APS words outside of any frame skipped", counters[kernels.STRAY_APS])
        self._lose(int(counters[kernels.LOST_FRAMES]), int(counters[kernels.LOST_IMU]), side)

    def end(self, side: Side) -> None:
        """Tell what was in progress when the file ended."""
        open_frames = int(np.count_nonzero(self._frames[:, kernels.FIRST_ADDRESS] >= 0))
        self._lose(open_frames, int(self._imu[kernels.NEXT_CODE] > 0), side)

    @staticmethod
    def _lose(frames: int, samples: int, side: Side) -> None:
        side.lose("incomplete APS frames skipped", frames)
        side.lose("incomplete IMU samples skipped", samples)


def camera_bits(cameras: int) -> int:
    """Low bits of the ADC value that hold the camera number."""
    return 0 if cameras == 1 else 1 if cameras == 2 else 2


def _add_imu(
    t: NDArray[np.int64], values: NDArray[np.int16], scales: tuple[float, float] | None, side: Side
) -> None:
    """values: (N, 7) acceleration x, y, z, temperature, rotation x, y, z as the chip gives them."""
    if scales is None:
        side.say(
            "IMU values are scaled for jAER's default ranges, 4 g and 500 deg/s; the true ranges are "
            "settings of the camera, which the header does not tell"
        )
    per_g, per_degree = scales or DEFAULT_SCALES
    raw = values.astype(np.float64)
    side.add_imu(t, raw[:, :3] / per_g, raw[:, 4:] / per_degree, raw[:, 3] / 340 + 35)


def load_frame(
    path: Path, header_bytes: int, layout: NDArray[np.int64], cameras: int, ref: tuple[Any, ...]
) -> NDArray[np.uint8]:
    """(H, W) uint8 of the frame announced with ref = first record, number of records, camera."""
    record, number, camera = ref
    height, width = int(layout[kernels.HEIGHT]), int(layout[kernels.WIDTH])
    reset, signal = np.zeros((2, height, width), np.int32)
    buffer = np.empty(min(STEP, number), np.uint64)
    with path.open("rb", buffering=0) as file:
        for start in range(record, record + number, STEP):
            records = buffer[: min(STEP, record + number - start)]
            read_exactly(file, header_bytes + 8 * start, records, path)
            kernels.read_aps(records, layout, camera_bits(cameras), camera, reset, signal)
    return (np.clip(reset - signal, 0, 1023) >> 2).astype(np.uint8)
