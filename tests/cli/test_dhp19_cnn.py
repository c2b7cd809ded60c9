"""`eventhpe train cnn` and `eventhpe evaluate dhp19`, from prepared files to a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventhpe.cli.main import main
from eventhpe.evaluation.dhp19_averages import METRICS
from eventhpe.weights.files import read_card
from tests.data.prepared_files import walk, write_prepared
from tests.shapenet.heads.keras_file import draw_filters, write_keras

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging intervals


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared")
    for subject in (1, 10, 13, 14):
        write_prepared(root, subject, 2, 1, walk(1, subject), official=False)
    return root


def test_train_then_evaluate(small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--epochs", "1", "--batch-size", "2", "--sigma", "4", "--workers", "0", "--precision", "32-true"]
    out = tmp_path / "cnn"
    words = ["train", "cnn", "--data", f"dhp19:{small_set}", *words, "-o", str(out)]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert f"finished: {out / 'dhp19_cnn.safetensors'}" in told and "val/mpjpe_px" in told
    card = read_card(out / "dhp19_cnn")
    assert card.data["training"]["sigma_px"] == 4 and card.data["subjects"] == [1]
    assert card.command == " ".join(["eventhpe", *words])

    table = tmp_path / "dhp19.csv"
    words = ["--weights", str(out / "dhp19_cnn"), "--subjects", "1", "13", "-o", str(table)]
    assert main(["evaluate", "dhp19", "--data", str(small_set), *words, "--json"]) == 0
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert report["protocol"] == "dhp19" and report["conditions"]["subjects"] == [1, 13]
    assert list(report["table"]) == ["every frame by itself", "hold 0.3", "floor: label pixels"]
    assert list(report["table"]["hold 0.3"]) == list(METRICS) == report["metrics"]
    assert "trained on S1, which is tested here" in said.err and "S13_session2_mov1" in said.err
    assert table.read_text().startswith("method,by,group,metric,mean")


def test_published_weights_and_every_option(
    small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, page = tmp_path / "DHP_CNN.model", tmp_path / "dhp19.md"
    write_keras(model, draw_filters(0))
    words = [
        "--weights",
        str(model),
        "--hold",
        "0.1",
        "0.5",
        "--average",
        "per_subject",
        "--label-width",
        "346",
    ]
    words += ["--drop", "S14_2_1", "S14_5_3", "-o", str(page)]
    assert main(["evaluate", "dhp19", "--data", str(small_set), *words]) == 0
    text = capsys.readouterr().out
    assert "hold 0.5" in text and "averaged per subject" in text and "346 x 260" in text
    assert "1 recordings of S13" in text and "left out: S14_2_1, S14_5_3" in text
    assert "published: Pose-ResNet50 (recalled)" in text
    assert page.read_text().startswith("# DHP19")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "dhp19"], "needs --weights"),
        (["evaluate", "dhp19", "--weights", "w", "-o", "x.png"], ".csv or .md"),
        (["evaluate", "flow", "-o", "x.csv"], "--real and --output go with"),
        (["evaluate", "dhp19", "--weights", "w", "--real", "x"], "--real goes with"),
        (["evaluate", "dhp19", "--weights", "w", "--subjects", "18"], "1 to 17"),
    ],
)
def test_wrong_words_of_evaluate(
    words: list[str], said: str, small_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--data", str(small_set)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cnn", "--data", "synthetic:x"], "--data dhp19:FOLDER"),
        (["cnn", "--data", "dhp19:"], "--data dhp19:FOLDER"),
        (["cnn", "--data", "dhp19:x", "--val-data", "dhp19:y"], "--val-data dhp19:y"),
        (["flownet", "--data", "dhp19:x"], "DHP19 has none"),
        (["cnn", "--data", "dhp19:nowhere"], "expected S1_session1"),
    ],
)
def test_wrong_words_of_train(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words, "-o", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
