"""Writing H.264 video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.atomic import AtomicWriter, PendingFile
from eventhpe.errors import FormatError, ShapeError, UnitError


class VideoWriter(AtomicWriter):
    """Context manager that writes RGB frames to an .mp4 every browser plays (H.264, yuv420p, faststart).

    The file appears under its name only when all is written; after an error nothing is left. Odd
    sizes get a black row or column, since H.264 needs even ones.

    Args:
        path: where to write; the folder must exist.
        size: (H, W) of the frames.
        fps: frames per second, > 0.
        quality: constant rate factor of x264, 0 (lossless) to 51; 18 looks like the original.

    Example:
        with VideoWriter("out.mp4", (260, 346), 30) as video:
            video.write(frame)
    """

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float, *, quality: int = 18) -> None:
        self.path = Path(path)
        self.size = (int(size[0]), int(size[1]))
        self.frames_written = 0
        if min(self.size) < 1:
            raise ShapeError(f"size must be (H, W), both >= 1; got {size}.")
        if not 0 < fps <= 1000:
            raise UnitError(f"fps must be in (0, 1000]; got {fps}.")
        if not 0 <= quality <= 51:
            raise UnitError(f"quality must be 0 to 51; got {quality}.")
        if not self.path.parent.is_dir():
            raise FormatError(f"{self.path}: the folder does not exist. Create it first.")
        self._rate = Fraction(fps).limit_denominator(1001)
        self._quality = quality
        self._container: Any = None
        self._stream: Any = None
        self._pending: PendingFile | None = None

    def __enter__(self) -> VideoWriter:
        import av

        self._pending = PendingFile(self.path)
        try:
            name = str(self._pending.temporary)
            self._container = av.open(name, "w", format="mp4", options={"movflags": "+faststart"})
            stream = self._container.add_stream("libx264", rate=self._rate)
            stream.height, stream.width = (n + n % 2 for n in self.size)
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": str(self._quality), "preset": "veryfast"}
            self._stream = stream
        except BaseException:
            self.discard()
            raise
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame, (H, W, 3) uint8 RGB.

        Raises:
            ShapeError: another size or dtype than promised.
        """
        import av

        if self._container is None:
            raise FormatError(f"{self.path}: the video is not open. Use `with VideoWriter(...) as video:`.")
        if frame.shape != (*self.size, 3) or frame.dtype != np.uint8:
            raise ShapeError(f"frames must be {(*self.size, 3)} uint8; got {frame.shape} {frame.dtype}.")
        H, W = self.size
        even = np.pad(frame, ((0, H % 2), (0, W % 2), (0, 0))) if H % 2 or W % 2 else frame
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        self._container.mux(self._stream.encode(picture))
        self.frames_written += 1

    def close(self) -> None:
        """Finish the video and give it its name."""
        if not self.frames_written:
            raise FormatError(f"{self.path}: no frame was written, so there is no video.")
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._container = None
        assert self._pending is not None
        self._pending.close()

    def discard(self) -> None:
        """Give up: remove the temporary file."""
        try:
            if self._container is not None:
                self._container.close()
        finally:
            self._container = None
            if self._pending is not None:
                self._pending.discard()
