"""Videos of a recording alone: events as they came, at any speed, over gray frames where there are some."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError, ShapeError, UnitError
from eventhpe.events.frames import polarity_counts
from eventhpe.events.recording import Recording
from eventhpe.events.types import GrayFrames
from eventhpe.render.movie import picture_scale
from eventhpe.render.overlay import EVENT_STYLES, draw_label, upscale
from eventhpe.render.video import VideoWriter

Image = NDArray[np.uint8]

#: Events read at once: a long window of a busy camera is added up in parts.
PART_EVENTS = 1 << 21

#: Counts up to this are told apart; larger pairs of counts are scaled down to it.
_LARGEST = 63
_STRENGTH = 2.5


@dataclass(frozen=True)
class MovieOptions:
    """How a recording becomes a video.

    Attributes:
        fps: pictures per second of the video.
        slow: 10 plays ten times slower than it happened, 0.1 ten times faster.
        window_us: each picture shows the events of this long before its moment; None: of its own period.
        start_s, stop_s: part of the recording, seconds from its beginning; None: all.
        scale: whole enlargement; None: so that small sensors are easy to see.
        style: "dark" or "light" background.
        frames: draw the latest gray frame beneath.
        full_at: number of events of one pixel that give about its full colour.
    """

    fps: float = 30.0
    slow: float = 1.0
    window_us: int | None = None
    start_s: float | None = None
    stop_s: float | None = None
    scale: int | None = None
    style: str = "dark"
    frames: bool = False
    full_at: float = 2.0

    def __post_init__(self) -> None:
        for name in ("fps", "slow", "full_at"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UnitError(f"{name} must be > 0; got {value}.")
        if self.period_us < 1:
            raise UnitError(
                f"fps {self.fps:g} at slow {self.slow:g} gives {self.period_us:.3g} µs per picture; events "
                "have whole µs: take a smaller product of the two."
            )
        if self.window_us is not None and self.window_us < 1:
            raise UnitError(f"window_us must be at least 1; got {self.window_us}.")
        if self.scale is not None and not 1 <= self.scale <= 16:
            raise UnitError(f"scale must be a whole number, 1 to 16; got {self.scale}.")
        if self.style not in EVENT_STYLES:
            raise UnitError(f"style must be one of {', '.join(EVENT_STYLES)}; got {self.style!r}.")

    @property
    def period_us(self) -> float:
        """Time of the recording from one picture to the next."""
        return 1e6 / (self.fps * self.slow)


def write_event_movie(
    output: Path,
    recording: Recording,
    options: MovieOptions,
    *,
    progress: Callable[[range], Iterable[Any]] = lambda items: items,
) -> int:
    """Write an H.264 video; memory depends on the sensor, not on the recording's length or the window's.

    Time runs evenly: silence gives empty pictures. Picture k shows the window of events that ends at
    start + (k + 1) periods.

    Returns:
        The number of pictures.
    Raises:
        UnitError: the part from start_s to stop_s is empty.
        FormatError: `frames` is asked for and there are none.
    """
    start, stop = part_us(recording, options)
    gray = _GrayBeneath(recording, options.style) if options.frames else None
    count = max(1, math.ceil((stop - start) / options.period_us - 1e-9))
    window = options.window_us or max(1, round(options.period_us))
    painter = EventPainter(options.style, options.full_at)
    scale = options.scale or picture_scale(recording.sensor_size)
    H, W = recording.sensor_size
    digits = min(6, max(2, math.ceil(-math.log10(options.period_us * 1e-6))))
    pace = "" if options.slow == 1 else f"  {_pace(options.slow)}"
    with VideoWriter(output, size=(H * scale, W * scale), fps=options.fps) as video:
        for k in progress(range(count)):
            end = start + round((k + 1) * options.period_us)
            on, off = window_counts(recording, end - window, end)
            image = painter.paint(on, off, None if gray is None else gray.at(end))
            video.write(draw_label(upscale(image, scale), f"{end * 1e-6:.{digits}f} s{pace}"))
    return count


def part_us(recording: Recording, options: MovieOptions) -> tuple[int, int]:
    """The part of the recording that is shown, relative µs, end exclusive."""
    for name in ("start_s", "stop_s"):
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UnitError(f"{name[:-2]} must be seconds from the beginning, >= 0; got {value}.")
    end = max(1, recording.end_us)
    start = 0 if options.start_s is None else round(options.start_s * 1e6)
    stop = end if options.stop_s is None else min(end, round(options.stop_s * 1e6))
    if stop <= start:
        raise UnitError(
            f"nothing lies between {start * 1e-6:g} s and {stop * 1e-6:g} s; the recording ends at "
            f"{end * 1e-6:.6g} s."
        )
    return start, stop


def window_counts(
    recording: Recording, t0_us: int, t1_us: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(H, W) ON and OFF events per pixel with t0 <= t < t1."""
    i, j = recording.index_at(t0_us), recording.index_at(t1_us)
    counts = np.zeros((2, *recording.sensor_size), np.float32)
    for first in range(i, j, PART_EVENTS):
        events = recording.read(first, min(j, first + PART_EVENTS))
        if j - i <= PART_EVENTS:
            polarity_counts(events, 1, t0_us=t0_us, t1_us=t1_us, out=counts)
        else:
            counts += polarity_counts(events, 1, t0_us=t0_us, t1_us=t1_us)
    return counts[1], counts[0]


class EventPainter:
    """Colours for counts, looked up: the colours of `overlay.event_image`, at the speed of a video.

    Args:
        style: a key of EVENT_STYLES.
        full_at: number of events that give about the full colour.
    """

    def __init__(self, style: str, full_at: float) -> None:
        background, on, off = (np.array(c, np.float32) for c in EVENT_STYLES[style])
        n_on, n_off = np.mgrid[: _LARGEST + 1, : _LARGEST + 1].astype(np.float32)[..., None]
        total = n_on + n_off
        share = n_on / np.maximum(total, 1)
        strength = 1 - np.exp(-_STRENGTH * total / full_at)
        ink = share * on + (1 - share) * off
        self._ink = ink.reshape(-1, 3)
        self._strength = strength.reshape(-1, 1)
        self._colours = _to_uint8(background + strength * (ink - background)).reshape(-1, 3)

    def paint(
        self, on: NDArray[np.float32], off: NDArray[np.float32], beneath: NDArray[np.float32] | None = None
    ) -> Image:
        """(H, W, 3) picture of (H, W) counts, over an (H, W) gray picture of 0..255 where one is given."""
        largest = max(float(on.max()), float(off.max()))
        if largest > _LARGEST:
            shrink = np.minimum(1, _LARGEST / np.maximum(np.maximum(on, off), 1))
            on, off = np.rint(on * shrink), np.rint(off * shrink)
        place = on.astype(np.intp) * (_LARGEST + 1) + off.astype(np.intp)
        if beneath is None:
            image: Image = self._colours[place]
            return image
        below = beneath[..., None]
        return _to_uint8(below + self._strength[place] * (self._ink[place] - below))


class _GrayBeneath:
    """The latest gray frame at a time, toned so that events stand out; one frame is kept."""

    def __init__(self, recording: Recording, style: str) -> None:
        frames = recording.frames
        if frames is None or not len(frames):
            raise FormatError(f"{recording.source}: holds no gray frames; leave out --frames.")
        self._frames: GrayFrames = frames
        self._size = recording.sensor_size
        self._low, self._span = (0.0, 0.55) if style == "dark" else (110.0, 0.57)
        self._shown = -1
        self._toned = np.zeros(self._size, np.float32)

    def at(self, t_us: int) -> NDArray[np.float32]:
        k = max(0, int(np.searchsorted(self._frames.t_us, t_us, side="right")) - 1)
        if k != self._shown:
            image = self._frames[k]
            if image.shape != self._size:
                raise ShapeError(
                    f"gray frame {k} is {image.shape}, the sensor {self._size}; leave out --frames."
                )
            self._toned = np.float32(self._low) + np.float32(self._span) * image.astype(np.float32)
            self._shown = k
        return self._toned


def _pace(slow: float) -> str:
    return f"{slow:g}x slower" if slow > 1 else f"{1 / slow:.4g}x faster"


def _to_uint8(image: NDArray[np.float32]) -> Image:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
