"""Self-contained HTML reports: pictures are embedded, nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.row { display: flex; flex-wrap: wrap; gap: .6rem; }
figure { margin: 0; flex: 1 1 15rem; max-width: 34rem; } figure.wide { flex-basis: 100%; max-width: 100%; }
img { width: 100%; height: auto; border-radius: 4px; }
figcaption { font-size: .85rem; opacity: .75; }
table { border-collapse: collapse; }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
.note { border-left: 3px solid #d08700; padding: .2rem .8rem; margin: .4rem 0; }
"""


@dataclass(frozen=True)
class Picture:
    """A PNG with its caption; `wide` takes a whole row."""

    png: bytes
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """A heading with notes, a table of (name, value) rows and pictures, all optional."""

    title: str
    notes: Sequence[str] = ()
    rows: Sequence[tuple[str, str]] = ()
    pictures: Sequence[Picture] = ()


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB or (H, W) gray to PNG bytes."""
    bgr = image[..., ::-1] if image.ndim == 3 else image
    return cv2.imencode(".png", np.ascontiguousarray(bgr))[1].tobytes()


def write_report(output: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the report atomically."""
    body = "\n".join(_section(s) for s in sections)
    page = (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )
    temporary = output.with_name(output.name + ".tmp")
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, output)


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p class='note'>{html.escape(note)}</p>" for note in section.notes]
    if section.rows:
        rows = "".join(
            f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in section.rows
        )
        parts.append(f"<table>{rows}</table>")
    if section.pictures:
        parts.append("<div class='row'>" + "".join(_figure(p) for p in section.pictures) + "</div>")
    return "\n".join(parts)


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    wide = " class='wide'" if picture.wide else ""
    caption = html.escape(picture.caption)
    image = f"<img src='data:image/png;base64,{data}' alt='{caption}'>"
    return f"<figure{wide}>{image}<figcaption>{caption}</figcaption></figure>"
