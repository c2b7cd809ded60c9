"""Events from images: a sensor like ESIM's (Rebecq et al. 2018) with v2e's noise (Hu et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.kernels_simulate import (
    add_hot_pixels,
    add_shot_noise,
    cross_thresholds,
    levels_from_float,
    levels_from_table,
    lin_log,
    low_pass,
    sort_and_unpack,
)
from eventhpe.events.types import Events

Box = tuple[int, int, int, int]

_SMALLEST_THRESHOLD = 0.01
_LONGEST_STEP_US = 2**31
_NEVER_US = -(2**62)
_REBASE_US = 1_000_000


@dataclass(frozen=True)
class SensorModel:
    """Properties of an event camera.

    Attributes:
        threshold_on, threshold_off: change of log intensity that makes an event (C+, C-).
        mismatch_sigma: standard deviation of both thresholds from pixel to pixel, in log units;
            fixed for the sensor's life.
        refractory_us: a pixel is silent for this long after an event. Events in that time are lost, but
            the pixel's reference follows them (as ESIM; v2e keeps the reference).
        leak_hz: mean rate of ON events from leaking references, per pixel.
        shot_hz: rate of noise events (both polarities together) per pixel in darkness; it falls
            linearly to a quarter at 255 DN, as in v2e.
        hot_pixel_fraction, hot_pixel_hz: share of pixels that fire ON events all the time, and how often.
        cutoff_hz: bandwidth of the photoreceptor at 255 DN, falling linearly to 7 % of that in the
            dark (first-order low-pass); 0 = unlimited.
        dark_offset: DN added to every intensity (dark current).
        lin_log_dn: below this DN the logarithm continues as its tangent; 0 = pure logarithm.
    Raises:
        UnitError: a value outside its range.
    """

    threshold_on: float = 0.2
    threshold_off: float = 0.2
    mismatch_sigma: float = 0.03
    refractory_us: int = 0
    leak_hz: float = 0.0
    shot_hz: float = 0.0
    hot_pixel_fraction: float = 0.0
    hot_pixel_hz: float = 20.0
    cutoff_hz: float = 0.0
    dark_offset: float = 1.0
    lin_log_dn: float = 20.0

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not math.isfinite(value) or value < 0:
                raise UnitError(f"SensorModel.{f.name} must be finite and not negative; got {value}.")
        for name in ("threshold_on", "threshold_off"):
            if getattr(self, name) < _SMALLEST_THRESHOLD:
                raise UnitError(
                    f"SensorModel.{name} is a change of log intensity of at least {_SMALLEST_THRESHOLD}; "
                    f"got {getattr(self, name)}."
                )
        if self.hot_pixel_fraction > 1:
            raise UnitError(f"SensorModel.hot_pixel_fraction must be <= 1; got {self.hot_pixel_fraction}.")
        if self.dark_offset == 0 and self.lin_log_dn == 0:
            raise UnitError("SensorModel.dark_offset and lin_log_dn are both 0, so black has no logarithm.")
        if int(self.refractory_us) != self.refractory_us:
            raise UnitError(f"SensorModel.refractory_us must be whole µs; got {self.refractory_us}.")


class EventSimulator:
    """Turns a sequence of images into events, one image at a time.

    Order of each interval: logarithm, low-pass, leak, threshold crossings (log intensity is linear in
    time between two images), refractory period, shot noise, hot pixels, sorting. Memory does not
    grow with the length of the sequence, and how calls are grouped changes nothing.

    With a leak, references start at a random phase, as in a camera that has been on for a while.

    Args:
        size: (H, W).
        sensor: the sensor's properties.
        seed: fixes mismatch, hot pixels and noise; the same seed and images give the same bytes.
    """

    def __init__(self, size: tuple[int, int], sensor: SensorModel, *, seed: int) -> None:
        H, W = (int(s) for s in size)
        if not (0 < H <= 65536 and 0 < W <= 65536) or H * W >= 2**31:
            raise ShapeError(f"size must be (H, W), each 1..65536 and fewer than 2^31 pixels; got {size}.")
        self.size, self.sensor = (H, W), sensor
        rng = np.random.default_rng(seed)
        self._on, self._off = (
            np.maximum(c + sensor.mismatch_sigma * rng.standard_normal((H, W)), _SMALLEST_THRESHOLD).astype(
                np.float32
            )
            for c in (sensor.threshold_on, sensor.threshold_off)
        )
        num_hot = round(sensor.hot_pixel_fraction * H * W)
        self._hot = np.sort(rng.choice(H * W, num_hot, replace=False)).astype(np.int64)
        self._phase = rng.random((H, W), dtype=np.float32) if sensor.leak_hz > 0 else None
        self._noise_state = rng.integers(0, 2**64, 1, dtype=np.uint64)
        knee, dark = sensor.lin_log_dn, sensor.dark_offset
        self._table = np.array([lin_log(float(dn), knee, dark) for dn in range(256)], np.float32)
        self._target = np.zeros((H, W), np.float32)
        self._seen = np.full((H, W), np.nan, np.float32)
        self._last_t = np.full((H, W), _NEVER_US, np.int64)
        self._buffer = np.empty(4096, np.uint64)
        self._dtype: np.dtype[Any] | None = None
        self._t_us = self._leak_epoch_us = 0

    def feed(self, image: NDArray[Any], t_us: int, *, box: Box | None = None) -> Events:
        """Events between the previous image and this one.

        Args:
            image: (H, W) linear intensity in DN (0..255), uint8 (fastest) or float; the same dtype in
                every call.
            t_us: time of the image in whole microseconds, later than the one before.
            box: (y0, y1, x0, x1), half-open: a promise that no pixel outside has changed since the
                previous image. Saves time and changes no event. Ignored by a sensor with `cutoff_hz`.
        Returns:
            Events with t in [previous t_us, t_us), sorted; none from the first call.
        Raises:
            ShapeError: wrong shape or dtype, or a box outside the image.
            UnitError: time that is no integer or does not advance; negative or non-finite intensity.
        """
        image = self._checked_image(image)
        region = self._checked_box(box)
        first = self._dtype is None
        t0, dt = self._t_us, self._checked_step(t_us, first)
        self._to_levels(image, (0, self.size[0], 0, self.size[1]) if first else region)
        self._t_us, self._dtype = t0 + dt if not first else int(t_us), image.dtype
        if first:
            self._begin()
            return self._unpack(0, 0, 1)

        levels = self._target
        if self.sensor.cutoff_hz > 0:
            region = (0, self.size[0], 0, self.size[1])
            low_pass(self._target, image, self._low_pass_shares(dt), self._filtered, region)
            levels = self._filtered
        leak0, leak1 = self._leak_at(t0), self._leak_at(t0 + dt)
        silent = int(self.sensor.refractory_us)
        self._buffer, n = cross_thresholds(
            levels, self._before, self._reference, self._on, self._off, leak0, leak1, region,
            t0, dt, silent, self._last_t, self._buffer,
        )  # fmt: skip
        if self.sensor.shot_hz > 0:
            self._buffer, n = add_shot_noise(
                self._noise_state, self.sensor.shot_hz * 1e-6, image, levels, self._reference,
                leak1, t0, dt, silent, self._last_t, self._buffer, n,
            )  # fmt: skip
        if self._hot.size and self.sensor.hot_pixel_hz > 0:
            self._buffer, n = add_hot_pixels(
                self._noise_state, self.sensor.hot_pixel_hz * 1e-6, self._hot, t0, dt, silent,
                self._last_t, self._buffer, n,
            )  # fmt: skip
        self._rebase_leak()
        return self._unpack(n, t0, dt)

    def _begin(self) -> None:
        self._filtered = self._target.copy()
        self._before = self._target.copy()
        self._reference = self._target.copy()
        if self._phase is not None:
            self._reference -= self._phase * self._on
        self._leak_epoch_us = self._t_us

    def _checked_image(self, image: NDArray[Any]) -> NDArray[Any]:
        image = np.asarray(image)
        if image.shape != self.size:
            raise ShapeError(f"the image must be (H, W) = {self.size}, one channel; got {image.shape}.")
        if image.dtype != np.uint8:
            if image.dtype.kind != "f":
                raise ShapeError(f"the image must be uint8 or float, in DN 0..255; got {image.dtype}.")
            image = image.astype(np.float32, copy=False)
        if self._dtype is not None and image.dtype != self._dtype:
            raise ShapeError(f"the sequence began with {self._dtype} images; now {image.dtype} came.")
        return np.ascontiguousarray(image)

    def _checked_box(self, box: Box | None) -> Box:
        H, W = self.size
        if box is None:
            return (0, H, 0, W)
        y0, y1, x0, x1 = (int(b) for b in box)
        if not (0 <= y0 <= y1 <= H and 0 <= x0 <= x1 <= W):
            raise ShapeError(f"box must be (y0, y1, x0, x1) inside {self.size}; got {box}.")
        return (y0, y1, x0, x1)

    def _checked_step(self, t_us: int, first: bool) -> int:
        if not isinstance(t_us, (int, np.integer)):
            raise UnitError(f"t_us must be whole microseconds (int); got {t_us!r}. Seconds: round(t * 1e6).")
        dt = int(t_us) - self._t_us
        if not first and not 0 < dt < _LONGEST_STEP_US:
            raise UnitError(
                f"time must advance by 1 to {_LONGEST_STEP_US:,} µs per image; got {self._t_us} then {t_us}."
            )
        return dt

    def _to_levels(self, image: NDArray[Any], region: Box) -> None:
        if image.dtype == np.uint8:
            levels_from_table(image, self._table, region, self._target)
        elif not levels_from_float(
            image, self._seen, self.sensor.lin_log_dn, self.sensor.dark_offset, region, self._target
        ):
            raise UnitError("the image holds negative or non-finite intensities; give linear DN 0..255.")

    def _low_pass_shares(self, dt: int) -> NDArray[np.float32]:
        cutoff = self.sensor.cutoff_hz * (np.arange(256) + 20.0) / 275.0
        return (-np.expm1(-2 * np.pi * cutoff * dt * 1e-6)).astype(np.float32)

    def _leak_at(self, t_us: int) -> float:
        # one mean threshold per 1 / leak_hz: pixels with a low threshold leak more often
        return self.sensor.leak_hz * self.sensor.threshold_on * (t_us - self._leak_epoch_us) * 1e-6

    def _rebase_leak(self) -> None:
        """Book the leak of the last second into the references, so that float32 stays precise."""
        if self.sensor.leak_hz > 0 and self._t_us - self._leak_epoch_us >= _REBASE_US:
            leaked = np.float32(self._leak_at(self._t_us))
            self._reference -= leaked
            self._leak_epoch_us = self._t_us

    def _unpack(self, n: int, t0: int, dt: int) -> Events:
        packed = self._buffer[:n]
        t, x, y, p = (
            np.empty(n, np.int64),
            np.empty(n, np.uint16),
            np.empty(n, np.uint16),
            np.empty(n, np.uint8),
        )
        if dt > 65_536 + 8 * n:  # few events in a long interval: sorting them is cheaper than counting µs
            packed = packed[np.argsort(packed >> np.uint64(32), kind="stable")]
            place = (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
            t[:] = t0 + (packed >> np.uint64(32)).astype(np.int64)
            y[:], x[:] = np.divmod(place >> 1, self.size[1])
            p[:] = place & 1
        else:
            sort_and_unpack(packed, t0, dt, self.size[1], t, x, y, p)
        return Events(t=t, x=x, y=y, p=p, sensor_size=self.size)
