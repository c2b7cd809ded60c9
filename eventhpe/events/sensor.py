"""Properties of an event camera, and what they make of its single pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from eventhpe.errors import UnitError

Mode = Literal["esim", "ideal", "v2e"]

_SMALLEST_THRESHOLD = 0.01
_SLOWEST_READOUT = 1e-6
_LONGEST_US = 2**31
_WIDEST_SPREAD = 3.0
_WHOLE_MICROSECONDS = ("refractory_us", "readout_wait_us", "timestamp_step_us")
_NOT_IDEAL = ("leak_hz", "shot_hz", "noise_spread", "hot_pixel_fraction", "cutoff_hz")


@dataclass(frozen=True)
class SensorModel:
    """Properties of an event camera.

    Attributes:
        threshold_on, threshold_off: change of log intensity that makes an event (C+, C-).
        mismatch_sigma: standard deviation of both thresholds from pixel to pixel, in log units;
            fixed for the sensor's life.
        refractory_us: a pixel is silent for this long after an event. Events in that time are lost, but
            the pixel's reference follows them (as ESIM); in the mode "v2e" the reference stays, so that they
            come later.
        leak_hz: mean rate of ON events from leaking references, per pixel.
        shot_hz: rate of noise events (both polarities together) per pixel in darkness; it falls
            linearly to a quarter at 255 DN, as in v2e.
        hot_pixel_fraction, hot_pixel_hz: share of pixels that fire all the time, and how often.
        hot_on_share: share of ON events in theirs.
        cutoff_hz: bandwidth of the photoreceptor at 255 DN, falling linearly to 7 % of that in the
            dark (first-order low-pass); 0 = unlimited.
        dark_offset: DN added to every intensity (dark current).
        lin_log_dn: below this DN the logarithm continues as its tangent; 0 = pure logarithm. The mode
            "ideal" has the pure logarithm whatever stands here.
        noise_spread: unevenness of background activity over the sensor: leak and shot rates of a pixel are
            multiplied by one log-normal factor of this sigma (natural log) whose mean over the sensor is 1.
        noise_patch_px: with it, half of that unevenness (in variance) is smooth over patches of about this
            size; 0 = every pixel by itself.
        shot_on_share: share of ON events in the shot noise.
        readout_mev_per_s: million events per second that leave the sensor at most; 0 = no limit. Others wait
            their turn and carry the time at which they leave.
        readout_wait_us: an event that would wait longer than this is lost.
        timestamp_step_us: time stamps are multiples of this, the next one after the event, as where whole
            rows are read out in turn; 0 or 1 = every microsecond.
        mode: when events come between two images. "esim": at the time at which log intensity, linear in
            time, passes a threshold (Rebecq et al. 2018). "ideal": the same in double precision and without
            lin-log, for comparison with closed forms; leak, shot noise, its spread, hot pixels and
            bandwidth are refused. "v2e": evenly spread over the interval (Hu et al. 2021).
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
    noise_spread: float = 0.0
    noise_patch_px: float = 0.0
    shot_on_share: float = 0.5
    hot_on_share: float = 1.0
    readout_mev_per_s: float = 0.0
    readout_wait_us: int = 1000
    timestamp_step_us: int = 0
    mode: Mode = "esim"

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name != "mode" and (not math.isfinite(value) or value < 0):
                raise UnitError(f"SensorModel.{f.name} must be finite and not negative; got {value}.")
        for name in ("threshold_on", "threshold_off"):
            if getattr(self, name) < _SMALLEST_THRESHOLD:
                raise UnitError(
                    f"SensorModel.{name} is a change of log intensity of at least {_SMALLEST_THRESHOLD}; "
                    f"got {getattr(self, name)}."
                )
        for name in ("hot_pixel_fraction", "shot_on_share", "hot_on_share"):
            if getattr(self, name) > 1:
                raise UnitError(f"SensorModel.{name} must be <= 1; got {getattr(self, name)}.")
        for name in _WHOLE_MICROSECONDS:
            value = getattr(self, name)
            if int(value) != value or value >= _LONGEST_US:
                raise UnitError(f"SensorModel.{name} must be whole µs below {_LONGEST_US:,}; got {value}.")
        if self.noise_spread > _WIDEST_SPREAD:
            raise UnitError(f"SensorModel.noise_spread must be <= {_WIDEST_SPREAD}; got {self.noise_spread}.")
        if 0 < self.readout_mev_per_s < _SLOWEST_READOUT:
            raise UnitError(
                f"SensorModel.readout_mev_per_s must be 0 (no limit) or at least {_SLOWEST_READOUT} million "
                f"events per second; got {self.readout_mev_per_s}."
            )
        self._check_mode()

    def _check_mode(self) -> None:
        if self.mode not in get_args(Mode):
            raise UnitError(
                f"SensorModel.mode must be one of {', '.join(get_args(Mode))}; got {self.mode!r}."
            )
        if self.mode != "ideal":
            if self.dark_offset == 0 and self.lin_log_dn == 0:
                raise UnitError(
                    "SensorModel.dark_offset and lin_log_dn are both 0, so black has no logarithm."
                )
            return
        for name in _NOT_IDEAL:
            if getattr(self, name) != 0:
                raise UnitError(
                    f'SensorModel.{name} must be 0 in the mode "ideal"; got {getattr(self, name)}. '
                    'Use the mode "esim" for a sensor with noise or limited bandwidth.'
                )


@dataclass(frozen=True, eq=False)
class PixelPattern:
    """What one sensor's pixels are like, fixed for its life. A seed fixes all of it.

    Attributes:
        threshold_on, threshold_off: (H, W) float64.
        hot: (K,) int64 flat indices of the hot pixels, increasing.
        leak_phase: (H, W) float32, how far (0..1) each pixel has leaked towards its next event at the
            start, as in a camera that has been on for a while; None without a leak.
        noise_state: (1,) uint64, where the random numbers of the noise begin.
        noise_share: (H, W) float64 factor on the rates of leak and shot noise, mean 1; None = all 1.
    """

    threshold_on: NDArray[np.float64]
    threshold_off: NDArray[np.float64]
    hot: NDArray[np.int64]
    leak_phase: NDArray[np.float32] | None
    noise_state: NDArray[np.uint64]
    noise_share: NDArray[np.float64] | None

    @classmethod
    def draw(cls, size: tuple[int, int], sensor: SensorModel, seed: int) -> PixelPattern:
        """Draw the pixels of a sensor of (H, W). New properties draw last: seeds keep their meaning."""
        H, W = size
        rng = np.random.default_rng(seed)
        on, off = (
            np.maximum(c + sensor.mismatch_sigma * rng.standard_normal(size), _SMALLEST_THRESHOLD)
            for c in (sensor.threshold_on, sensor.threshold_off)
        )
        num_hot = round(sensor.hot_pixel_fraction * H * W)
        hot = np.sort(rng.choice(H * W, num_hot, replace=False)).astype(np.int64)
        phase = rng.random(size, dtype=np.float32) if sensor.leak_hz > 0 else None
        noise_state = rng.integers(0, 2**64, 1, dtype=np.uint64)
        share = None
        if sensor.noise_spread > 0:
            uneven = rng.standard_normal(size)
            if sensor.noise_patch_px > 0:
                smooth = gaussian_filter(rng.standard_normal(size), sensor.noise_patch_px, mode="wrap")
                uneven = np.sqrt(0.5) * (uneven + smooth / smooth.std())
            share = np.exp(sensor.noise_spread * uneven)
            share /= share.mean()
        return cls(on, off, hot, phase, noise_state, share)
