"""`eventhpe train`, and that `eventhpe capture` takes what it made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from eventhpe.cli.main import main
from eventhpe.data import streaming
from eventhpe.data.mmhpsd_export import export_mmhpsd
from eventhpe.data.mmhpsd_sequence import SequenceSource
from eventhpe.data.plan import Job, make_recording
from eventhpe.training import run
from eventhpe.weights import files
from eventhpe.weights.files import load_network, load_tensors, read_card
from tests.data.mmhpsd_fixture import labels_of, moving_params, write_sequence_recording

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging intervals

TINY = "{duration_s: 0.15, supersample: 1, max_motion_px: 2.0, ranges: {sensor_sizes: [[64, 64]]}}"
"""Settings of recordings that a stream makes within a moment."""

SMALL = "--steps 2 --batch-size 2 --size-px 64 --width 8 --workers 0 --precision 32-true".split()


def test_two_processes_share_every_batch(recordings: Path, tmp_path: Path) -> None:
    """Where there is no GPU, --devices are processes; one of them writes and tells."""
    out = tmp_path / "run"
    words = [
        "train",
        "flownet",
        "--data",
        f"synthetic:{recordings}",
        *SMALL,
        "--devices",
        "2",
        "-o",
        str(out),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "eventhpe", *words], capture_output=True, text=True, timeout=240,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "MEMBER: 2/2" in done.stderr and done.stdout.count("finished: ") == 1
    training = read_card(out / "flownet").data["training"]
    assert (training["devices"], training["steps_done"], training["batch_size"]) == (2, 2, 2)
    assert all(torch.isfinite(value).all() for value in load_tensors(out / "flownet")[0].values())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("flownet --data synthetic:FOLDER --batch-size 3 --devices 2", "shared evenly"),
        ("flownet --data stream:lab --batch-size 2 --devices 2", "stream cannot be shared"),
        ("cnn --data dhp19:FOLDER --devices 2", "trains on one device"),
    ],
)
def test_batches_that_cannot_be_shared(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, told: str
) -> None:
    words = words.replace("FOLDER", str(recordings))
    assert main(["train", *words.split(), "-o", str(tmp_path / "run")]) != 0
    assert told in capsys.readouterr().err


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
    words = ["train", "shapenet", "--data", data, *SMALL, *words]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert f"finished: {shape / 'shapenet.safetensors'}" in told and "train/coherence" in told
    card = read_card(shape / "shapenet")
    assert card.data["training"]["loss"]["coherence"] == 0.5
    assert card.command == " ".join(["eventhpe", *words])
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


def test_both_networks_learn_from_streams(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PROBE_CLIPS", 8)
    made: list[Job] = []
    monkeypatch.setattr(streaming, "make_recording", lambda job: (made.append(job), make_recording(job))[1])
    (tmp_path / "tiny.yaml").write_text(TINY)
    flow, shape, cache = tmp_path / "flow", tmp_path / "shape", tmp_path / "cache"
    stream = ["--data", "stream:lab", "--settings", str(tmp_path / "tiny.yaml"), "--seed", "5"]
    assert main(["train", "flownet", *stream, *SMALL, "-o", str(flow)]) == 0
    assert f"finished: {flow / 'flownet.safetensors'}" in capsys.readouterr().out
    card = read_card(flow / "flownet")
    told = card.data["stream"]
    assert card.data["recordings"] == 4 == len(made) and card.data["training"]["steps_done"] == 2
    assert (told["seed"], told["motions"], told["num_groups"]) == (5, None, 0)
    assert told["settings"]["duration_s"] == 0.15 and told["settings"]["flow_labels"] is False
    assert told["settings"]["ranges"]["people"] == [1, 1] and str(tmp_path) not in json.dumps(card.data)

    kept = ["--stream-cache", str(cache), "--stream-groups", "1", "--num-windows", "2"]
    words = ["train", "shapenet", *stream, *SMALL, *kept, "--no-use-flow", "-o", str(shape)]
    assert main(words) == 0
    assert f"finished: {shape / 'shapenet.safetensors'}" in capsys.readouterr().out
    assert sorted(p.name for p in cache.rglob("*.h5")) == [f"{n:03d}.h5" for n in range(4)]
    assert len(made) == 8, "the probe's recordings are those of the first batches"
    half_way = load_tensors(shape / "shapenet")[0]

    # The same command with more steps goes on, with batches that were not seen yet and no new recordings.
    starts: list[int] = []
    iterate = streaming.SampleStream.__iter__

    def remember(self: streaming.SampleStream) -> Any:
        starts.append(self.offset)
        return iterate(self)

    monkeypatch.setattr(streaming.SampleStream, "__iter__", remember)
    words[words.index("--steps") + 1] = "3"
    assert main(words) == 0
    assert starts == [4] and len(made) == 8
    card = read_card(shape / "shapenet")
    assert (card.data["training"]["steps_done"], card.data["recordings"]) == (3, 4)
    after = load_tensors(shape / "shapenet")[0]
    assert any(not torch.equal(after[name], value) for name, value in half_way.items())


def test_a_fresh_shapenet_starts_from_the_mean_pose_of_the_streams_first_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PROBE_CLIPS", 8)
    (tmp_path / "tiny.yaml").write_text(TINY)
    words = ["--data", "stream:clean", "--settings", str(tmp_path / "tiny.yaml"), *SMALL, "--lr", "1e-12"]
    words[words.index("--steps") + 1] = "1"
    out = tmp_path / "shape"
    assert main(["train", "shapenet", *words, "--no-use-flow", "--num-windows", "2", "-o", str(out)]) == 0
    poses = load_network(out / "shapenet")[0].absolute.mean_pose.view(24, 6)
    # Upright before the camera: up in the body is against y in the image. Knees bend, they do not twist.
    assert poses[0, 4] < -0.7 and poses[4, 0] > 0.9
    assert not torch.allclose(poses[4], torch.tensor([1.0, 0, 0, 0, 1, 0]), atol=1e-4)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("flownet --data stream:nowhere", "FormatError: unknown preset 'nowhere'; the presets are lab"),
        ("flownet --data stream:benchmark-p1", "preset benchmark-p1 is frozen"),
        ("flownet --data stream:lab --settings no.yaml", "no.yaml: cannot read settings"),
        ("flownet --data stream:lab --motions nowhere", "nowhere: found no training motion clips"),
        ("flownet --data stream:lab --stream-cache x", "StreamConfig.cache needs num_groups"),
        ("flownet --data stream:lab --stream-groups -1", "StreamConfig.num_groups must be at least 0"),
        ("flownet --data synthetic:DATA --motions x", "--motions goes with --data stream:PRESET only"),
        ("flownet --data synthetic:DATA --settings x", "--settings goes with --data stream:PRESET only"),
        ("flownet --data synthetic:DATA --stream-groups 2", "--stream-groups goes with --data stream:"),
        ("flownet --data stream:lab --val-data stream:lab", "--val-data must be synthetic:FOLDER"),
        ("shapenet --data stream:mmhpsd --no-use-flow", "GeneratorConfig.label_step_us (11111) must divide"),
        ("shapenet --data stream:lab --no-use-flow --num-windows 81", "is shorter than 81 windows of 50 ms"),
        ("flownet --data synthetic:DATA --steps 0", "ShapeError: TrainConfig.steps must be positive; got 0."),
        ("flownet --data synthetic:nowhere", "MissingAssetError: nowhere: no .h5 recordings there."),
        (
            "flownet --data hsjp:nowhere",
            "FormatError: --data must be synthetic:FOLDER, stream:PRESET, mmhpsd:ROOT or dhp19:FOLDER",
        ),
        ("flownet --data dhp19:", "FormatError: --data must be synthetic:FOLDER"),
        ("flownet --data dhp19:nowhere", "DHP19 has none; use --objective contrast"),
        ("flownet --data dhp19:nowhere --objective both", "objective both learns from gray images"),
        (
            "flownet --data dhp19:x --objective contrast --variant parity",
            "the parity variant learns from gray",
        ),
        ("flownet --data dhp19:nowhere --objective contrast", "nowhere: expected S1_1_1_cam2.h5"),
        ("shapenet --data dhp19:nowhere", "prepare dhp19 ROOT -o OUT --mode bodies"),
        ("shapenet --data dhp19:x --val-data synthetic:DATA", "--val-data must be dhp19:FOLDER"),
        ("shapenet --data dhp19:x --motions y", "--motions goes with --data stream:PRESET only"),
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


def test_both_networks_learn_from_mmhpsd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = write_sequence_recording(tmp_path / "recording.h5", labels_of(moving_params()))
    source = SequenceSource(recording, subject=3, group=1, time=1)
    export_mmhpsd(tmp_path / "a", layout="A", sequences=[source])
    export_mmhpsd(tmp_path / "b", layout="B", sequences=[source])
    tiny = "--steps 2 --batch-size 1 --size-px 64 --width 8 --workers 0 --precision 32-true".split()
    b, a = f"mmhpsd:{tmp_path / 'b'}", f"mmhpsd:{tmp_path / 'a'}"
    clips = ["--num-windows", "4", "--no-use-flow"]
    for name, words in (
        ("flow", ["flownet", "--data", b]),
        ("shape", ["shapenet", "--data", b, *clips]),
    ):
        assert main(["train", *words, *tiny, "-o", str(tmp_path / name)]) == 0
    capsys.readouterr()
    assert main(["train", "shapenet", "--data", a, *clips, *tiny, "-o", str(tmp_path / "x")]) == 2
    assert "needs layout B" in capsys.readouterr().err
    assert main(["train", "flownet", "--data", b, "--val-data", b, *tiny, "-o", str(tmp_path / "y")]) == 2
    assert "no sequence of the recommended val split" in capsys.readouterr().err
    assert main(["train", "flownet", "--data", b, "--val-data", "synthetic:x", *tiny]) == 2
    assert "--val-data must be mmhpsd:ROOT" in capsys.readouterr().err
