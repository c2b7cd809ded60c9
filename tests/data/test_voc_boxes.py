"""PASCAL VOC's boxes: those of people, and nothing that could harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eventhpe.data.voc_boxes import MAX_BYTES, labelled_files, read_voc
from eventhpe.errors import FormatError, MissingAssetError

HEAD = "<annotation><size><width>346</width><height>260</height><depth>1</depth></size>"


def thing(name: str, *corners: float) -> str:
    box = "".join(f"<{n}>{v}</{n}>" for n, v in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
    return f"<object><name>{name}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"


def written(folder: Path, text: str) -> Path:
    path = folder / "a.xml"
    path.write_text(text)
    return path


def test_people_only(tmp_path: Path) -> None:
    people = (
        thing("person", 49, 103, 145, 260) + thing("dog", 1, 2, 3, 4) + thing("Person", 200, 10, 230, 90.5)
    )
    found = read_voc(written(tmp_path, f"{HEAD}{people}</annotation>"))
    assert found.size == (260, 346)
    np.testing.assert_array_equal(found.boxes, [[49, 103, 145, 260], [200, 10, 230, 90.5]])
    assert read_voc(written(tmp_path, f"{HEAD}</annotation>")).boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "at most 1 MB"),
        ("<annotation>", "PASCAL VOC"),
        ("<annotation></annotation>", "is missing"),
        (f"{HEAD}<object><name>person</name></object></annotation>", "is missing"),
        (HEAD + thing("person", 5, 5, 5, 9) + "</annotation>", "must be positive"),
        (HEAD + thing("person", float("nan"), 5, 8, 9) + "</annotation>", "must be positive"),
        ('<!DOCTYPE a [<!ENTITY b "bb">]>' + HEAD + "</annotation>", "document type"),
        (HEAD + " " * MAX_BYTES + "</annotation>", "at most 1 MB"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        read_voc(written(tmp_path, text))


def test_recordings_with_labels_beside_them(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="no recordings with boxes"):
        labelled_files(tmp_path)
    (tmp_path / "deep").mkdir()
    for name in ("b.npy", "b.xml", "lonely.xml", "c.npy", "deep/d.raw", "deep/d.xml"):
        (tmp_path / name).write_text("")
    found = [(a.name, b.name) for a, b in labelled_files(tmp_path)]
    assert found == [("b.npy", "b.xml"), ("d.raw", "d.xml")]
