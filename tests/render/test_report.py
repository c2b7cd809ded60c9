"""Self-contained HTML reports."""

from __future__ import annotations

import base64
import re
from html import unescape
from pathlib import Path

import cv2
import numpy as np

from eventhpe.render.report import Picture, Section, encode_png, write_report


def decode(png: bytes) -> np.ndarray:
    image: np.ndarray = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    return image


def test_png_keeps_colours() -> None:
    rng = np.random.default_rng(0)
    rgb, gray = rng.integers(0, 256, (5, 7, 3), np.uint8), rng.integers(0, 256, (5, 7), np.uint8)
    assert np.array_equal(decode(encode_png(rgb))[..., ::-1], rgb)
    assert np.array_equal(decode(encode_png(gray)), gray)


def test_report_holds_pictures_tables_and_notes(tmp_path: Path) -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[..., 0] = 200
    pictures = [Picture(encode_png(image), "red"), Picture(encode_png(image), "wide", wide=True)]
    first = Section("First", notes=["mind this"], rows=[("name", "value"), ("more", "things")])
    sections = [first, Section("Second", pictures=pictures)]
    write_report(tmp_path / "r.html", "Title", sections)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert re.findall(r"<h[12]>(.*?)</h[12]>", text) == ["Title", "First", "Second"]
    assert "<p class='note'>mind this</p>" in text
    assert re.findall(r"<tr><th>(.*?)</th><td>(.*?)</td></tr>", text) == [
        ("name", "value"),
        ("more", "things"),
    ]
    stored = re.findall(r"src='data:image/png;base64,(.*?)'", text)
    assert len(stored) == 2 and np.array_equal(decode(base64.b64decode(stored[0]))[..., ::-1], image)
    assert text.count("<figure class='wide'>") == 1 and "<figcaption>red</figcaption>" in text
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_nothing_of_the_users_becomes_markup(tmp_path: Path) -> None:
    nasty = "<script>alert('1')</script> & \"x\""
    png = encode_png(np.zeros((2, 2), np.uint8))
    section = Section(nasty, notes=[nasty], rows=[(nasty, nasty)], pictures=[Picture(png, nasty)])
    write_report(tmp_path / "r.html", nasty, [section])
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script" not in text and "alert('1')" not in text
    # title, h1, h2, note, two cells, alt, caption
    assert unescape(text).count(nasty) == 8


def test_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", "old", [])
    write_report(tmp_path / "r.html", "new", [])
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<h1>new</h1>" in text and "old" not in text
