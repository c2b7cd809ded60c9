"""The three files that a capture leaves behind."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from eventhpe.body.motion_file import load_motion
from eventhpe.capture import Capture, Networks, capture
from eventhpe.capture_report import write_outputs
from eventhpe.data.labels import read_labels
from eventhpe.events.open import open_recording
from tests.small_world import NUM_WINDOWS, networks, recordings

__all__ = ["networks", "recordings"]

FACTS = {"recording": "a <b> & c.h5", "camera": "focal length 100 px", "command": "eventhpe capture"}


class Page(HTMLParser):
    """Headings, links, text and whether every tag is closed."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: dict[str, list[str]] = {}
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.found.setdefault(self.open[-1], []).append(data)


@pytest.fixture(scope="module")
def captured(recordings: Path, networks: Path) -> Capture:
    path = recordings / "squat.h5"
    loaded = Networks.load(str(networks / "shapenet"), str(networks / "flownet"))
    with open_recording(path) as recording:
        return capture(recording, loaded, read_labels(path).camera, provenance=FACTS)


@pytest.fixture(scope="module")
def written(recordings: Path, captured: Capture, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    drawn: list[int] = []
    with open_recording(recordings / "squat.h5") as recording:
        outputs = write_outputs(
            folder, recording, captured, facts=FACTS, scores={"joint error": "12 mm"},
            progress=lambda items: (drawn.append(k) or item for k, item in enumerate(items)),
        )  # fmt: skip
    assert drawn == list(range(NUM_WINDOWS))
    return outputs


def test_three_files_and_nothing_else(written: dict[str, Path]) -> None:
    assert list(written) == ["motion.npz", "overlay.mp4", "report.html"]
    folder = written["motion.npz"].parent
    assert {p.name for p in folder.iterdir()} == set(written)
    assert all(path.parent == folder and path.stat().st_size > 1000 for path in written.values())


def test_motion_is_the_captured_one(written: dict[str, Path], captured: Capture) -> None:
    clip = load_motion(written["motion.npz"])
    assert np.array_equal(clip.t_us, captured.clip.t_us)
    np.testing.assert_allclose(clip.joints(), captured.clip.joints(), atol=1e-6)
    np.testing.assert_allclose(clip.confidence, captured.clip.confidence)
    assert clip.provenance == captured.clip.provenance and clip.provenance["recording"] == FACTS["recording"]
    assert clip.camera is not None and captured.clip.camera is not None
    assert np.array_equal(clip.camera.K, captured.clip.camera.K)


def test_video_has_one_picture_per_pose(written: dict[str, Path]) -> None:
    av = pytest.importorskip("av")
    with av.open(str(written["overlay.mp4"])) as container:
        stream = container.streams.video[0]
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
        assert stream.codec_context.name == "h264" and float(stream.average_rate) == 20.0
    assert len(frames) == NUM_WINDOWS and frames[0].shape == (512, 512, 3)
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 50


def test_report_is_one_file_that_loads_nothing(written: dict[str, Path]) -> None:
    text = written["report.html"].read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == [] and text.startswith("<!doctype html>")
    assert page.links and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", text)


def test_report_says_what_was_found(written: dict[str, Path], captured: Capture) -> None:
    page = Page(written["report.html"].read_text(encoding="utf-8"))
    assert page.found["h1"] == ["Capture of a <b> & c.h5"]
    headings = [
        "Stills",
        "Events",
        "Optical flow in the crop",
        "Joints",
        "Errors against truth",
        "Provenance",
    ]
    assert page.found["h2"] == headings
    # 6 stills, event rate, 8 windows of flow, joint curves and path
    assert page.tags.count("img") == 6 + 1 + 8 + 2
    cells = dict(zip(page.found["th"], page.found["td"], strict=True))
    assert FACTS.items() <= cells.items() and cells["joint error"] == "12 mm"
    assert cells["windows"] == "12 of 50 ms" and cells["sensor"] == "128 x 128 px"
    assert page.found["p"] == list(captured.notes)


def test_sections_without_content_are_left_out(recordings: Path, captured: Capture, tmp_path: Path) -> None:
    bare = replace(captured, flow_windows={})
    with open_recording(recordings / "squat.h5") as recording:
        outputs = write_outputs(tmp_path, recording, bare, facts=FACTS)
    page = Page(outputs["report.html"].read_text(encoding="utf-8"))
    assert page.found["h2"] == ["Stills", "Events", "Joints", "Provenance"]
