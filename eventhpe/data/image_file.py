"""Pictures of a data set, whose size is known beforehand and compared before anything is decoded."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError, MissingAssetError

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def read_image(path: Path, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Decode a PNG or JPEG file.

    Args:
        path: the file.
        size: (H, W) that it must have.
        channels: 1 = gray (colours are turned into gray), 4 = as stored, in OpenCV's order.
    Returns:
        (H, W) or (H, W, 4) uint8.
    Raises:
        MissingAssetError: no such file.
        FormatError: no picture, damaged, or of another size.
    """
    if not path.is_file():
        raise MissingAssetError(f"{path}: no such file.")
    content = path.read_bytes()
    stored = _header(content)
    if stored is None:
        raise FormatError(f"{path}: is no PNG or JPEG picture, or cut short. Download it again.")
    if stored[:2] != size or (channels == 4 and stored[2] != 4):
        raise FormatError(
            f"{path}: a picture of {stored[1]} x {stored[0]} pixels with {stored[2]} channels, where "
            f"{size[1]} x {size[0]} with {channels} are expected."
        )
    flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_UNCHANGED
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    if image is None or image.dtype != np.uint8 or image.shape != (size if channels == 1 else (*size, 4)):
        raise FormatError(f"{path}: the picture cannot be decoded. Download it again.")
    return np.asarray(image, np.uint8)


def _header(content: bytes) -> tuple[int, int, int] | None:
    """Height, width and channels that a picture's header tells; None if there is none."""
    if content.startswith(_PNG) and content[12:16] == b"IHDR" and len(content) > 26:
        width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
        return height, width, _PNG_CHANNELS.get(content[25], 0)
    if not content.startswith(_JPEG):
        return None
    at = 2
    while at + 10 <= len(content) and content[at] == 0xFF:  # segments: FF, kind, length
        kind, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if kind in _FRAME_HEADERS:
            height, width = (int.from_bytes(content[at + i : at + i + 2], "big") for i in (5, 7))
            return height, width, content[at + 9]
        at += 2 + length
    return None
