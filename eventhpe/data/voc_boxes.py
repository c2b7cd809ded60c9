"""Boxes of people in PASCAL VOC's XML, as PEDRo stores them beside its events."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError, MissingAssetError

MAX_BYTES = 1_000_000
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VOCBoxes(NamedTuple):
    """Labelled people of one image.

    Attributes:
        size: (H, W) pixels.
        boxes: (N, 4) x0, y0, x1, y1 in pixels.
    """

    size: tuple[int, int]
    boxes: NDArray[np.float64]


def read_voc(path: str | Path) -> VOCBoxes:
    """Boxes of the objects named "person".

    Raises:
        FormatError: no XML of this kind, with a document type (which could grow without bound), or of more
            than 1 MB.
    """
    path = Path(path)
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error}") from None
    if not raw or b"<!" in raw.replace(b"<!--", b""):
        raise FormatError(f"{path}: expected PASCAL VOC's XML of at most 1 MB, without a document type.")
    try:
        root = ElementTree.fromstring(raw)
        size = root.find("size")
        height, width = (int(_text(size, name)) for name in ("height", "width"))
        people = [o for o in root.iter("object") if _text(o, "name").strip().lower() == "person"]
        boxes = [[float(_text(o.find("bndbox"), name)) for name in _CORNERS] for o in people]
    except (ElementTree.ParseError, ValueError) as error:
        raise FormatError(
            f"{path}: expected PASCAL VOC's XML (annotation with size and objects with bndbox): {error}"
        ) from None
    found = np.array(boxes, np.float64).reshape(-1, 4)
    if height < 1 or width < 1 or not np.isfinite(found).all() or (found[:, 2:] <= found[:, :2]).any():
        raise FormatError(f"{path}: sizes and boxes must be positive.")
    return VOCBoxes((height, width), found)


def labelled_files(folder: str | Path) -> list[tuple[Path, Path]]:
    """Recordings of a folder and the `.xml` of the same name beside each, sorted.

    Raises:
        MissingAssetError: there are none.
    """
    folder = Path(folder)
    labels = sorted(folder.rglob("*.xml"))
    pairs = [
        (path, label)
        for label in labels
        for path in sorted(label.parent.glob(f"{label.stem}.*"))
        if path.suffix.lower() != ".xml" and path.is_file()
    ]
    if not pairs:
        raise MissingAssetError(
            f"{folder}: no recordings with boxes there; expected NAME.xml (PASCAL VOC, as PEDRo has it) "
            "beside NAME.npy or another recording."
        )
    return pairs


def _text(element: ElementTree.Element | None, name: str) -> str:
    found = None if element is None else element.findtext(name)
    if found is None:
        raise ValueError(f"{name} is missing")
    return found
