"""Events from images: a sensor like ESIM's (Rebecq et al. 2018) with v2e's noise (Hu et al. 2021)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.kernels_levels import take_image, take_image_exactly
from eventhpe.events.kernels_noise import first_in_each_unit
from eventhpe.events.kernels_packed import sort_and_unpack, unpack
from eventhpe.events.kernels_pixels import (
    LEVEL,
    NEVER,
    NUM_FIELDS,
    OFF,
    ON,
    REFERENCE,
    RUN,
    TARGET,
    Noise,
    Pixels,
)
from eventhpe.events.kernels_simulate import fire_between_images
from eventhpe.events.kernels_v2e import fire_in_steps
from eventhpe.events.readout import Readout, no_events
from eventhpe.events.sensor import PixelPattern, SensorModel
from eventhpe.events.types import Events

Box = tuple[int, int, int, int]

_LONGEST_STEP_US = 2**31
_NEVER_US = -(2**62)
_REBASE_US = 1_000_000
_FIRST_ROOM = 4096


class EventSimulator:
    """Turns a sequence of images into events, one image at a time.

    Order of each interval: logarithm, low-pass, leak, threshold crossings (log intensity is linear in
    time between two images), refractory period, shot noise, hot pixels, sorting, read-out. Memory does
    not grow with the length of the sequence, and how calls are grouped changes nothing.

    With a leak, references start at a random phase, as in a camera that has been on for a while.

    The mode "esim" computes in float32 (levels within 1e-6 log units, times in double precision), the
    modes "ideal" and "v2e" in double precision throughout.

    Args:
        size: (H, W).
        sensor: the sensor's properties.
        seed: fixes mismatch, hot pixels and noise; the same seed and images give the same bytes.
    """

    def __init__(self, size: tuple[int, int], sensor: SensorModel, *, seed: int) -> None:
        H, W = (int(s) for s in size)
        if not (0 < H <= 65536 and 0 < W <= 65536) or H * W >= 2**31 - RUN:
            raise ShapeError(f"size must be (H, W), each 1..65536 and fewer than 2^31 pixels; got {size}.")
        self.size, self.sensor = (H, W), sensor
        self._real = np.dtype(np.float32 if sensor.mode == "esim" else np.float64)
        self._pattern = PixelPattern.draw(self.size, sensor, seed)
        self._noise = self._noise_of_pattern()
        self._pixels: Pixels | None = None
        self._counts = np.zeros(_in_runs(H * W) if sensor.mode == "v2e" else 0, np.int32)
        self._buffer, self._ordered = np.empty(_FIRST_ROOM, np.uint64), np.empty(_FIRST_ROOM, np.uint64)
        self._starts = np.empty(_FIRST_ROOM, np.int32)
        self._readout = Readout(sensor, self.size)
        self._nothing = no_events(self.size)
        self._image_dtype: np.dtype[Any] | None = None
        self._t_us = self._leak_epoch_us = 0
        self._gain = math.nan

    @property
    def thresholds(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """ON and OFF thresholds of the pixels, (H, W) each, in log units."""
        on, off = self._pattern.threshold_on, self._pattern.threshold_off
        return on.astype(self._real), off.astype(self._real)

    @property
    def num_waiting(self) -> int:
        """Events that the read-out has not passed on yet; `flush` hands them out."""
        return self._readout.num_waiting

    @property
    def num_lost(self) -> int:
        """Events that the read-out has lost so far."""
        return self._readout.num_lost

    def feed(self, image: NDArray[Any], t_us: int, *, box: Box | None = None, gain: float = 1.0) -> Events:
        """Events between the previous image and this one.

        Args:
            image: (H, W) linear intensity in DN (0..255), uint8 or float; the same dtype in every call. It
                may be the same array every time, changed or not.
            t_us: time of the image in whole microseconds, later than the one before.
            box: (y0, y1, x0, x1), half-open: a promise that no pixel outside has changed since the
                previous image. Saves time and changes no event.
            gain: factor on the whole image (flicker of the lamps), before the dark offset is added. When it
                differs from the previous one, everything counts as changed whatever the box.
        Returns:
            Events with t in [previous t_us, t_us), sorted; none from the first call. In the mode "v2e" t
            lies in (previous t_us, t_us]. What the read-out keeps until t_us or longer comes with a later
            call.
        Raises:
            ShapeError: wrong shape or dtype, or a box outside the image.
            UnitError: time that is no integer or does not advance; negative or non-finite intensity or
                gain. The simulator is as before the call then.
        """
        image = self._checked_image(image)
        box = self._checked_box(box)
        gain = self._checked_gain(gain)
        dt = self._checked_step(t_us)
        first = self._pixels is None
        pixels = self._allocate(image.dtype) if self._pixels is None else self._pixels
        self._see(pixels, image, gain, box)
        if first:
            self._begin(pixels, int(t_us))
            self._image_dtype = image.dtype
            return self._nothing
        t0, self._t_us = self._t_us, int(t_us)
        n = self._fire(pixels, t0, dt, gain)
        self._rebase_leak(pixels)
        events = self._in_order(n, t0, dt)
        return events if self._readout.is_open else self._readout.pass_on(events, self._t_us)

    def flush(self) -> Events:
        """After the last image: the events that still wait at the read-out, with the times they leave at."""
        return self._readout.flush()

    def _noise_of_pattern(self) -> Noise:
        pattern = self._pattern
        ends = np.zeros(0) if pattern.noise_share is None else np.cumsum(pattern.noise_share)
        return Noise(
            state=pattern.noise_state.copy(),
            shot_per_us=float(self.sensor.shot_hz) * 1e-6,
            on_share=float(self.sensor.shot_on_share),
            ends=ends,
            guide=first_in_each_unit(ends),
            hot=pattern.hot,
            hot_per_us=float(self.sensor.hot_pixel_hz) * 1e-6,
            hot_on_share=float(self.sensor.hot_on_share),
        )

    def _allocate(self, image_dtype: np.dtype[Any]) -> Pixels:
        on, off = self.thresholds
        share = self._pattern.noise_share
        padded = _in_runs(self.size[0] * self.size[1])
        self._largest_share = 1.0 if share is None else float(share.max())
        self._smallest_threshold = float(min(on.min(), off.min()))
        state = np.zeros((padded // RUN, NUM_FIELDS, RUN), self._real)
        state[:, ON], state[:, OFF] = self._run_array(on, NEVER), self._run_array(off, NEVER)
        return Pixels(
            seen=np.ones((padded // RUN, RUN), image_dtype),  # the padding has a logarithm
            state=state,
            leak_share=np.ones((1, RUN), self._real) if share is None else self._run_array(share, 1.0),
            last_t=np.full((padded // RUN, RUN), _NEVER_US, np.int64),
            changed=np.zeros(padded // RUN, np.uint8),
            settled=np.ones(padded // RUN, np.uint8),
            margin=np.zeros(padded // RUN, np.float64),
        )

    def _run_array(self, values: NDArray[Any], padding: float) -> NDArray[Any]:
        out = np.full(_in_runs(values.size), padding, self._real)
        out[: values.size] = values.ravel()
        return out.reshape(-1, RUN)

    def _see(self, pixels: Pixels, image: NDArray[Any], gain: float, box: Box) -> None:
        """Take over an image: `seen` and `target` of the runs that changed."""
        model = self.sensor
        everything = gain != self._gain
        box = (0, self.size[0], 0, self.size[1]) if everything else box
        self._gain = math.nan  # until the image proves right
        if model.mode == "esim":
            dark, knee = np.float32(model.dark_offset), np.float32(model.lin_log_dn)
            valid = take_image(image, np.float32(gain), box, everything, dark, knee, pixels)
        else:
            tangent_dn = 0.0 if model.mode == "ideal" else float(model.lin_log_dn)
            valid = take_image_exactly(
                image, gain, box, everything, float(model.dark_offset), tangent_dn, pixels
            )
        if not valid:
            raise UnitError(
                "the image holds negative or non-finite intensities; give linear DN 0..255."
                if model.dark_offset > 0 or model.mode != "ideal"
                else "the image holds intensities <= 0, which have no logarithm without a dark_offset."
            )
        self._gain = gain

    def _begin(self, pixels: Pixels, t_us: int) -> None:
        state = pixels.state
        state[:, LEVEL] = state[:, REFERENCE] = state[:, TARGET]
        pixels.changed[:] = 0
        if self._pattern.leak_phase is not None:
            state[:, REFERENCE] -= self._run_array(self._pattern.leak_phase, 0.0) * state[:, ON]
        self._pixels = pixels
        self._t_us = self._leak_epoch_us = t_us

    def _fire(self, pixels: Pixels, t0: int, dt: int, gain: float) -> int:
        """Fill the buffer with the events of an interval; how many."""
        model, silent = self.sensor, int(self.sensor.refractory_us)
        leak0, leak1 = self._leak_at(t0), self._leak_at(t0 + dt)
        # the corner frequency falls to 20 / 275 of cutoff_hz in the dark
        cutoff = 2 * math.pi * model.cutoff_hz * dt * 1e-6 / 275.0
        if model.mode == "v2e":
            self._buffer, n = fire_in_steps(
                pixels, self._noise, cutoff, gain, leak1, t0, dt, silent, self.size, self._counts,
                self._buffer,
            )  # fmt: skip
        else:
            self._buffer, n = fire_between_images(
                pixels, self._noise, cutoff, gain, leak0, leak1, self._largest_share,
                self._smallest_threshold, t0, dt, silent, self.size, self._buffer,
            )  # fmt: skip
        return int(n)

    def _checked_image(self, image: NDArray[Any]) -> NDArray[Any]:
        image = np.asarray(image)
        if image.shape != self.size:
            raise ShapeError(f"the image must be (H, W) = {self.size}, one channel; got {image.shape}.")
        if image.dtype != np.uint8:
            if image.dtype.kind != "f":
                raise ShapeError(f"the image must be uint8 or float, in DN 0..255; got {image.dtype}.")
            image = image.astype(self._real, copy=False)
        if self._image_dtype is not None and image.dtype != self._image_dtype:
            raise ShapeError(f"the sequence began with {self._image_dtype} images; now {image.dtype} came.")
        return np.ascontiguousarray(image)

    def _checked_box(self, box: Box | None) -> Box:
        H, W = self.size
        if box is None:
            return (0, H, 0, W)
        y0, y1, x0, x1 = (int(b) for b in box)
        if not (0 <= y0 <= y1 <= H and 0 <= x0 <= x1 <= W):
            raise ShapeError(f"box must be (y0, y1, x0, x1) inside {self.size}; got {box}.")
        return (y0, y1, x0, x1)

    @staticmethod
    def _checked_gain(gain: float) -> float:
        gain = float(gain)
        if not 0 <= gain < math.inf:
            raise UnitError(f"gain is a factor on the intensity, finite and not negative; got {gain}.")
        return gain

    def _checked_step(self, t_us: int) -> int:
        if not isinstance(t_us, (int, np.integer)):
            raise UnitError(f"t_us must be whole microseconds (int); got {t_us!r}. Seconds: round(t * 1e6).")
        dt = int(t_us) - self._t_us
        if self._pixels is not None and not 0 < dt < _LONGEST_STEP_US:
            raise UnitError(
                f"time must advance by 1 to {_LONGEST_STEP_US:,} µs per image; got {self._t_us} then {t_us}."
            )
        return dt

    def _leak_at(self, t_us: int) -> float:
        # one mean threshold per 1 / leak_hz: pixels with a low threshold leak more often
        return self.sensor.leak_hz * self.sensor.threshold_on * (t_us - self._leak_epoch_us) * 1e-6

    def _rebase_leak(self, pixels: Pixels) -> None:
        """Book the leak of the last second into the references, so that float32 stays precise."""
        if self.sensor.leak_hz > 0 and self._t_us - self._leak_epoch_us >= _REBASE_US:
            pixels.state[:, REFERENCE] -= self._real.type(self._leak_at(self._t_us)) * pixels.leak_share
            pixels.margin[:] = 0.0
            self._leak_epoch_us = self._t_us

    def _in_order(self, n: int, t0: int, dt: int) -> Events:
        """The buffer's first n events, sorted, as columns."""
        if n == 0:
            return self._nothing
        words = self._buffer[:n]
        t, p = np.empty(n, np.int64), np.empty(n, np.uint8)
        x, y = np.empty(n, np.uint16), np.empty(n, np.uint16)
        if dt > 65_536 + 8 * n:  # few events in a long interval: sorting them is cheaper than counting µs
            unpack(words[np.argsort(words >> np.uint64(33), kind="stable")], t0, t, x, y, p)
        else:
            if self._starts.size < dt + 2:
                self._starts = np.empty(2 * dt + 2, np.int32)
            if self._ordered.size < n:
                self._ordered = np.empty(self._buffer.size, np.uint64)
            sort_and_unpack(words, dt, self._starts, self._ordered[:n], t0, t, x, y, p)
        return Events(t=t, x=x, y=y, p=p, sensor_size=self.size)


def _in_runs(num_pixels: int) -> int:
    """Number of pixels with the padding of the last run."""
    return -(-num_pixels // RUN) * RUN
