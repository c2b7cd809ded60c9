"""What crosses the border of this room: events, raw events, voxel grids, frames and triggers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import FormatError, ShapeError

#: Structured layout understood by other event libraries.
EVENT_DTYPE = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])

_COLUMN_DTYPES: dict[str, np.dtype[Any]] = {
    "t": np.dtype(np.int64),
    "x": np.dtype(np.uint16),
    "y": np.dtype(np.uint16),
    "p": np.dtype(np.uint8),
}


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written through (the array itself keeps its flags)."""
    view = array.view()
    view.flags.writeable = False
    return view


def _check_sensor_size(sensor_size: tuple[int, int]) -> tuple[int, int]:
    size = tuple(sensor_size)
    if len(size) != 2 or not all(0 < int(n) <= 65536 for n in size):
        raise ShapeError(f"sensor_size must be (height, width), each 1..65536; got {sensor_size!r}.")
    return int(size[0]), int(size[1])


def _as_column(name: str, values: ArrayLike, dtype: np.dtype[Any]) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ShapeError(f"events column {name} must be (N,); got shape {array.shape}.")
    if array.dtype == dtype:
        return array
    if array.size == 0:
        return np.zeros(0, dtype)
    if array.dtype == np.bool_ and name == "p":
        return array.astype(dtype)
    if not np.issubdtype(array.dtype, np.integer):
        raise ShapeError(
            f"events column {name} must hold integers ({dtype}); got {array.dtype}."
            + (" Times are int64 microseconds: convert seconds with np.rint(t * 1e6)." if name == "t" else "")
        )
    info = np.iinfo(dtype)
    if int(array.min()) < info.min or int(array.max()) > info.max:
        raise FormatError(f"events column {name} holds values outside {dtype}: {array.min()}..{array.max()}.")
    return array.astype(dtype)


@dataclass(frozen=True, eq=False)
class Events:
    """N events of one camera, ordered by time.

    Attributes:
        t: (N,) int64 µs since the start of the recording, non-decreasing.
        x: (N,) uint16 column, to the right.
        y: (N,) uint16 row, downwards.
        p: (N,) uint8, 1 = brighter (ON), 0 = darker (OFF).
        sensor_size: (H, W).

    The constructor checks types and lengths only (cheap, for decoders); use `from_columns` for data
    of unknown origin. Arrays are read-only views.
    """

    t: NDArray[np.int64]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    p: NDArray[np.uint8]
    sensor_size: tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sensor_size", _check_sensor_size(self.sensor_size))
        n = self.t.shape[0] if self.t.ndim == 1 else -1
        for name, dtype in _COLUMN_DTYPES.items():
            column: NDArray[Any] = getattr(self, name)
            if column.dtype != dtype or column.shape != (n,):
                raise ShapeError(
                    f"Events.{name} must be ({max(n, 0)},) {dtype}; got {column.shape} {column.dtype}. "
                    "Events.from_columns converts integer columns."
                )
            object.__setattr__(self, name, read_only(column))

    @classmethod
    def from_columns(
        cls, t: ArrayLike, x: ArrayLike, y: ArrayLike, p: ArrayLike, sensor_size: tuple[int, int]
    ) -> Events:
        """Build from columns with every check: lengths, integer types, time order, sensor bounds, polarity.

        Raises:
            ShapeError: lengths differ or a column is not of integers.
            FormatError: time decreases, a pixel lies outside the sensor, or p is not 0 or 1.
        """
        height, width = _check_sensor_size(sensor_size)
        raw_p = np.asarray(p)
        if raw_p.size and not np.isin(raw_p, (0, 1)).all():
            hint = " Convert -1/+1 with (p > 0)." if np.isin(raw_p, (-1, 1)).all() else ""
            raise FormatError(f"polarity must be 0 or 1; got values {np.unique(raw_p)[:5].tolist()}.{hint}")
        given: dict[str, ArrayLike] = {"t": t, "x": x, "y": y, "p": raw_p}
        columns = {name: _as_column(name, values, _COLUMN_DTYPES[name]) for name, values in given.items()}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise ShapeError(f"events columns must have one length; got {lengths}.")
        times = columns["t"]
        if times.size > 1:
            back = np.flatnonzero(times[1:] < times[:-1])
            if back.size:
                i = int(back[0]) + 1
                raise FormatError(
                    f"time goes backwards at event {i:,} ({times[i - 1]} -> {times[i]} µs, {back.size:,} "
                    "such steps). Sort the columns with np.argsort(t, kind='stable') first."
                )
        outside = np.flatnonzero((columns["x"] >= width) | (columns["y"] >= height))
        if outside.size:
            i = int(outside[0])
            raise FormatError(
                f"event {i:,} at (x={columns['x'][i]}, y={columns['y'][i]}) lies outside the sensor of "
                f"{width}x{height} pixels ({outside.size:,} such events). sensor_size is (height, width)."
            )
        return cls(columns["t"], columns["x"], columns["y"], columns["p"], (height, width))

    @classmethod
    def empty(cls, sensor_size: tuple[int, int]) -> Events:
        """No events on a sensor of (H, W)."""
        t, x, y, p = (np.zeros(0, dtype) for dtype in _COLUMN_DTYPES.values())
        return cls(t, x, y, p, sensor_size)

    @classmethod
    def from_structured(cls, array: NDArray[Any], sensor_size: tuple[int, int]) -> Events:
        """From a structured array with fields t, x, y, p (any order and integer types)."""
        names = array.dtype.names or ()
        missing = [n for n in _COLUMN_DTYPES if n not in names]
        if missing:
            raise ShapeError(f"structured events need fields t, x, y, p; missing {missing} in {names}.")
        t, x, y, p = (np.ascontiguousarray(array[name]) for name in _COLUMN_DTYPES)
        return cls.from_columns(t, x, y, p, sensor_size)

    def to_structured(self) -> NDArray[Any]:
        """(N,) structured copy with fields t i8, x u2, y u2, p u1."""
        out = np.empty(len(self), EVENT_DTYPE)
        for name in _COLUMN_DTYPES:
            out[name] = getattr(self, name)
        return out

    def __len__(self) -> int:
        return int(self.t.shape[0])

    @property
    def duration_us(self) -> int:
        """Last time minus first time; 0 with fewer than two events."""
        return int(self.t[-1] - self.t[0]) if len(self) else 0

    def slice(self, i: int, j: int) -> Events:
        """Events i..j-1 (views, no copy)."""
        return Events(self.t[i:j], self.x[i:j], self.y[i:j], self.p[i:j], self.sensor_size)

    def between(self, t0_us: int, t1_us: int) -> Events:
        """Events with t0 <= t < t1 (views, binary search)."""
        i, j = np.searchsorted(self.t, (t0_us, t1_us), side="left")
        return self.slice(int(i), max(int(i), int(j)))


@dataclass(frozen=True, eq=False)
class RawEvents:
    """N events as they stand in the file: stored order, absolute time, nothing sorted or shifted.

    Attributes:
        t: (N,) int64 µs as stored (wraps of short counters undone).
        x, y, p: as in `Events` (image coordinates, polarity 1 = ON).
        camera: (N,) uint8, index of the camera where a file interleaves several, else 0.
        sensor_size: (H, W).
    """

    t: NDArray[np.int64]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    p: NDArray[np.uint8]
    camera: NDArray[np.uint8]
    sensor_size: tuple[int, int]

    def __post_init__(self) -> None:
        for name in ("t", "x", "y", "p", "camera"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def __len__(self) -> int:
        return int(self.t.shape[0])


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """Events of one window accumulated into time bins.

    Attributes:
        data: (B, H, W) float32; before normalising, the sum equals the sum of signed polarities.
        t0_us, t1_us: the half-open window.
    """

    data: NDArray[np.float32]
    t0_us: int
    t1_us: int

    def __post_init__(self) -> None:
        if self.data.ndim != 3:
            raise ShapeError(f"VoxelGrid.data must be (B, H, W); got shape {self.data.shape}.")

    @property
    def num_bins(self) -> int:
        return int(self.data.shape[0])


@dataclass(frozen=True, eq=False)
class Triggers:
    """External trigger edges.

    Attributes:
        t_us: (N,) int64, relative to the recording's t_offset_us (may be negative), non-decreasing.
        value: (N,) uint8; 1 rising edge, 0 falling edge, 2 pulse.
        channel: (N,) uint8, number of the input.
    """

    t_us: NDArray[np.int64]
    value: NDArray[np.uint8]
    channel: NDArray[np.uint8]

    def __post_init__(self) -> None:
        shapes = self.t_us.shape, self.value.shape, self.channel.shape
        if len(set(shapes)) != 1 or self.t_us.ndim != 1:
            raise ShapeError(f"Triggers need three (N,) columns; got shapes {shapes}.")
        for name in ("t_us", "value", "channel"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def __len__(self) -> int:
        return int(self.t_us.shape[0])


@dataclass(frozen=True, eq=False)
class ImuSamples:
    """Samples of the camera's inertial sensor, in the axes and units that cameras write.

    Attributes:
        t_us: (N,) int64, relative to the recording's t_offset_us (may be negative), non-decreasing.
        accel: (N, 3) float32, g.
        gyro: (N, 3) float32, degrees per second.
        temperature: (N,) float32, degrees Celsius; NaN where not recorded.
    """

    t_us: NDArray[np.int64]
    accel: NDArray[np.float32]
    gyro: NDArray[np.float32]
    temperature: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.t_us)
        shapes = self.accel.shape, self.gyro.shape, self.temperature.shape
        if shapes != ((n, 3), (n, 3), (n,)):
            raise ShapeError(f"{n} IMU samples need (N, 3), (N, 3) and (N,) columns; got shapes {shapes}.")
        for name in ("t_us", "accel", "gyro", "temperature"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def __len__(self) -> int:
        return int(self.t_us.shape[0])


@dataclass(frozen=True, eq=False)
class GrayFrames:
    """Gray frames of a camera that records them beside the events; images are read when asked for.

    Attributes:
        t_us: (F,) int64 middle of exposure where known, relative to the recording's t_offset_us.
        load: gives frame k as (H, W) uint8 (use `frames[k]`).
    """

    t_us: NDArray[np.int64]
    load: Callable[[int], NDArray[np.uint8]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "t_us", read_only(self.t_us))

    def __len__(self) -> int:
        return int(self.t_us.shape[0])

    def __getitem__(self, k: int) -> NDArray[np.uint8]:
        if not -len(self) <= k < len(self):
            raise IndexError(f"frame {k} of {len(self)}")
        return read_only(self.load(k % len(self)))

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[k] for k in range(len(self)))

    @property
    def images(self) -> NDArray[np.uint8]:
        """(F, H, W) uint8, all frames in memory."""
        if not len(self):
            return read_only(np.zeros((0, 0, 0), np.uint8))
        return read_only(np.stack([self.load(k) for k in range(len(self))]))
