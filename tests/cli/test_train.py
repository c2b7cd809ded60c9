"""`eventhpe train`, and that `eventhpe capture` takes what it made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventhpe.cli.main import main
from eventhpe.weights import files
from eventhpe.weights.files import load_network, read_card

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging intervals

SMALL = "--steps 2 --batch-size 2 --size-px 64 --width 8 --workers 0 --precision 32-true".split()


def test_train_both_networks_then_capture(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"synthetic:{recordings}"
    flow, shape, out = tmp_path / "flow", tmp_path / "shape", tmp_path / "out"
    words = ["--objective", "both", "-o", str(flow)]
    assert main(["train", "flownet", "--data", data, *SMALL, *words]) == 0
    told = capsys.readouterr().out
    assert f"finished: {flow / 'flownet.safetensors'}" in told and "train/contrast" in told

    words = [
        "--flow-weights",
        str(flow / "flownet"),
        "--num-windows",
        "2",
        "--coherence",
        "0.5",
        "-o",
        str(shape),
    ]
    assert main(["train", "shapenet", "--data", data, *SMALL, *words]) == 0
    told = capsys.readouterr().out
    assert f"finished: {shape / 'shapenet.safetensors'}" in told and "train/coherence" in told
    card = read_card(shape / "shapenet")
    assert card.data["training"]["loss"]["coherence"] == 0.5 and card.command.startswith("eventhpe ")
    assert card.config["width"] == 8 and card.config["size"] == 64 and card.config["use_flow"] is True

    words = [
        "--weights",
        str(shape / "shapenet.safetensors"),
        "--flow-weights",
        str(flow / "flownet.safetensors"),
    ]
    assert main(["capture", str(recordings / "squat.h5"), "-o", str(out), *words]) == 0
    assert {p.name for p in out.iterdir()} == {"motion.npz", "overlay.mp4", "report.html"}
    assert card.sha256[:12] in (out / "report.html").read_text(encoding="utf-8")


def test_shapenet_without_flow_from_yaml(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"data": f"synthetic:{recordings}", "use_flow": False, "steps": 1, "width": 8, "workers": 0}
    settings |= {"batch_size": 2, "size_px": 64, "num_windows": 2, "precision": "32-true"}
    (tmp_path / "run.yaml").write_text(json.dumps(settings))
    out = tmp_path / "run"
    assert main(["train", "shapenet", "--config", str(tmp_path / "run.yaml"), "-o", str(out)]) == 0
    assert "train/coherence" not in capsys.readouterr().out
    network, card = load_network(out / "shapenet")
    assert network.config.use_flow is False and card.data["training"]["loss"]["coherence"] == 0.0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("flownet --data synthetic:DATA --steps 0", "ShapeError: TrainConfig.steps must be positive; got 0."),
        ("flownet --data synthetic:nowhere", "MissingAssetError: nowhere: no .h5 recordings there."),
        ("flownet --data dhp19:nowhere", "FormatError: --data must be synthetic:FOLDER"),
        ("flownet --data nowhere", "got 'nowhere'"),
        ("flownet --data synthetic:DATA --val-data mmhpsd:x", "got 'mmhpsd:x'"),
        ("flownet --data synthetic:DATA --width 7", "base_width must be even"),
        ("flownet --data synthetic:DATA --init nowhere", "no weights card"),
        ("shapenet --data synthetic:DATA --flow-weights nowhere", "no weights card"),
        ("shapenet --data synthetic:DATA --no-use-flow --num-windows 50", "shorter than 50 windows"),
    ],
)
def test_refusals_are_one_line(
    words: str, complaint: str, recordings: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    words = words.replace("DATA", str(recordings))
    assert main(["train", *words.split(), "--workers", "0"]) == 2
    told = capsys.readouterr().err
    assert complaint in told and told.startswith("eventhpe: ") and told.count("\n") == 1
    assert not list(tmp_path.glob("**/*.safetensors"))


def test_shapenet_asks_for_flow_weights(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "shipped_names", lambda: ["other"])
    assert main(["train", "shapenet", "--data", f"synthetic:{recordings}"]) == 2
    assert "no shipped weights named 'flownet'; there are: other." in capsys.readouterr().err


def test_unknown_words_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "handnet", "--data", "synthetic:x"])
    assert stop.value.code == 2 and "handnet" in capsys.readouterr().err
