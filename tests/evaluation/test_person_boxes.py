"""Labelled boxes meet found ones once each; real windows of PEDRo go through."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe.cli.main import main
from eventhpe.data.labels import read_labels
from eventhpe.data.voc_boxes import labelled_files
from eventhpe.errors import FormatError
from eventhpe.evaluation.person_boxes import BoxResult, box_by_density, box_scores, evaluate_boxes
from eventhpe.events.open import open_recording
from eventhpe.events.types import Events
from eventhpe.shapenet.heads.swahr import SWAHRConfig, SWAHRNet
from eventhpe.weights.files import WeightsCard, save_network
from tests.small_world import recordings

__all__ = ["recordings"]

PEDRO = Path(__file__).resolve().parents[3] / "shared" / "events" / "davis346-pedro-people"
EMPTY = Events.from_columns(*(np.zeros(0, np.int64) for _ in range(4)), (100, 100))
BOX = [10.0, 10.0, 30.0, 50.0]


def result(true: list[list[float]], found: list[list[float]]) -> BoxResult:
    boxes = {"m": np.array(found, np.float64).reshape(-1, 4)}
    return BoxResult(Path("a.npy"), EMPTY, np.array(true, np.float64).reshape(-1, 4), boxes)


def test_overlaps_by_hand() -> None:
    half = [10.0, 10.0, 30.0, 30.0]  # half of BOX
    assert result([BOX], [half]).overlaps("m").tolist() == [0.5]
    assert result([BOX], []).overlaps("m").tolist() == [0.0]
    # One found box cannot meet two people; the better match wins.
    assert result([half, BOX], [BOX]).overlaps("m").tolist() == [0.0, 1.0]
    far = [80.0, 80.0, 90.0, 90.0]
    assert result([BOX, far], [half, BOX]).overlaps("m").tolist() == [1.0, 0.0]


def test_scores_by_hand() -> None:
    half, far = [10.0, 10.0, 30.0, 30.0], [80.0, 80.0, 90.0, 90.0]
    scores = box_scores([result([BOX], [half, far]), result([BOX, far], [BOX])], "m")
    assert scores["mean_iou"] == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert scores["recall"] == pytest.approx(2 / 3)
    assert scores["spare_per_window"] == 0.5


def voc(path: Path, size: tuple[int, int], box: np.ndarray) -> None:
    corners = "".join(
        f"<{n}>{v}</{n}>" for n, v in zip(("xmin", "ymin", "xmax", "ymax"), box.tolist(), strict=True)
    )
    path.write_text(
        f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size>"
        f"<object><name>person</name><bndbox>{corners}</bndbox></object></annotation>"
    )


@pytest.fixture
def labelled(recordings: Path, tmp_path: Path) -> Path:
    source = recordings / "jumping_jack.h5"
    (tmp_path / "a.h5").write_bytes(source.read_bytes())
    uv = read_labels(source).joints2d[-1]
    voc(tmp_path / "a.xml", (128, 128), np.concatenate([uv.min(0) - 4, uv.max(0) + 4]))
    return tmp_path


def test_density_meets_whoever_jumps(labelled: Path) -> None:
    pairs = [(labelled / "a.h5", labelled / "a.xml")]
    (found,) = evaluate_boxes(pairs, {"density": box_by_density})
    assert found.overlaps("density")[0] > 0.5
    with open_recording(labelled / "a.h5") as recording:
        first, last = int(found.events.t[0]), int(found.events.t[-1])
        assert recording.duration_us - 50_000 < first < last and last > recording.duration_us - 1000


def test_labels_of_another_camera_are_refused(labelled: Path) -> None:
    voc(labelled / "a.xml", (260, 346), np.array(BOX))
    with pytest.raises(FormatError, match="346x260"):
        evaluate_boxes([(labelled / "a.h5", labelled / "a.xml")], {})


def test_from_the_command_line(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    weights = labelled / "swahr"
    card = WeightsCard(system="", config={}, data={"training": {"size": [96, 96]}})
    save_network(weights, SWAHRNet(SWAHRConfig(width=4)), card)
    words = ["evaluate", "boxes", "--data", str(labelled), "--weights", str(weights)]
    picture = labelled / "boxes.png"
    assert main([*words, "-o", str(picture)]) == 0
    told = capsys.readouterr().out
    assert "density: mean IoU" in told and "network: mean IoU" in told and "a.h5" in told
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["people"][0]["density"] > 0.5 and set(report["table"]) == {"network", "unsure", "density"}
    assert main([*words, "-o", str(labelled / "boxes.txt")]) == 2
    assert "written as .png" in capsys.readouterr().err


@pytest.mark.skipif(not PEDRO.is_dir(), reason=f"no real recordings at {PEDRO}")
def test_real_people_before_a_moving_camera() -> None:
    results = evaluate_boxes(labelled_files(PEDRO), {"density": box_by_density})
    assert len(results) == 6 and sum(len(r.true) for r in results) == 7
    assert min(len(r.events) for r in results) > 17_000
    for r in results:
        (box,) = r.found["density"]
        assert (box >= 0).all() and box[2] <= 346 and box[3] <= 260
        # Everything moves in these pictures, so what moves most is nearly all of them.
        assert (box[2] - box[0]) * (box[3] - box[1]) > 0.7 * 346 * 260
