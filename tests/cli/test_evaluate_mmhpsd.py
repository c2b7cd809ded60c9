"""`eventhpe evaluate mmhpsd`: both layouts, both variants of ShapeNet, every output, and refusals."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.cli.main import main
from eventhpe.data.mmhpsd_export import export_mmhpsd
from eventhpe.data.mmhpsd_sequence import SequenceSource
from eventhpe.evaluation.mmhpsd import METRICS
from eventhpe.geometry.rotation import rotmat_to_sixd
from eventhpe.shapenet.network import build_shapenet
from eventhpe.shapenet.state import ShapeNetConfig
from eventhpe.training import run
from eventhpe.weights.files import WeightsCard, load_network, read_card, save_network
from tests.data.mmhpsd_fixture import labels_of, moving_params, write_sequence_recording
from tests.small_world import SHAPE, random_shapenet

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging intervals

NAME = "subject01_group1_time1"


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both layouts of one sequence: somebody who slides by (0.6, 0, -0.3) m over 18 frames and is stiff."""
    base = tmp_path_factory.mktemp("mmhpsd")
    stiff = replace(moving_params(), body_pose=np.zeros_like(moving_params().body_pose))
    path = write_sequence_recording(base / "a.h5", labels_of(stiff))
    for layout, subjects in (("A", (1,)), ("B", (1, 3))):
        sources = [SequenceSource(path, subject, 1, 1) for subject in subjects]
        export_mmhpsd(base / layout, layout=layout, sequences=sources)  # type: ignore[arg-type]
    return {layout: base / layout for layout in ("A", "B")}


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the parity variant that change nothing."""
    network = build_shapenet(
        ShapeNetConfig(
            variant="parity", encoder="resnet18", width=4, grid=1, hidden=32, size=64, use_flow=False
        )
    )
    with torch.no_grad():
        for head in (network.head_pose, network.head_transl):
            head.weight.zero_()
            head.bias.zero_()
        network.head_pose.bias.copy_(rotmat_to_sixd(torch.eye(3)).flatten().repeat(24))
    path = tmp_path_factory.mktemp("weights") / "still"
    save_network(path, network)
    return path


def evaluated(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["evaluate", "mmhpsd", *words, "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_a_start_that_is_held_errs_by_the_way_that_was_gone(
    roots: dict[str, Path], still: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Poses 2, 4, ... 16 of 18 frames: 9/18 of 0.6708 m on average; nothing but the place is wrong."""
    table = tmp_path / "table.csv"
    words = ["--data", str(roots["A"]), "--weights", str(still), "--start", "true", "-o", str(table)]
    report = evaluated(words, capsys)
    assert list(report["table"]) == ["shapenet", "start pose held"] and report["metrics"] == list(METRICS)
    assert report["sequences"][NAME]["shapenet"]["frames"] == 3 * 8
    for cells in report["table"].values():
        for metric in ("mpjpe_mm", "pve_mm"):
            assert cells[metric]["mean"] == pytest.approx(1000 * np.hypot(0.6, 0.3) / 2, abs=0.05)
        for metric in ("pel_mpjpe_mm", "pa_mpjpe_mm", "pel_pve_mm", "pa_pve_mm", "accel_mm"):
            assert cells[metric]["mean"] == pytest.approx(0, abs=0.02), metric
        assert cells["pckh50"]["mean"] == cells["pck100"]["mean"] == 1
        assert 10 < cells["px_256"]["mean"] < 60
    lines = list(csv.DictReader(table.open()))
    of_table = {(r["method"], r["metric"]): r["mean"] for r in lines if r["sequence"] == "all"}
    assert float(of_table["start pose held", "mpjpe_mm"]) == pytest.approx(335.41, abs=0.05)
    assert of_table["published: EvHuman", "pckh50"] == "0.862"

    disjoint = evaluated([*words, "--clips", "tracker-8"], capsys)
    assert disjoint["clips_of"] == "tracker-8" and disjoint["sequences"][NAME]["shapenet"]["frames"] == 8
    image = evaluated([*words[:4], "--start", "image", "--clips", "tracker-8"], capsys)
    held = image["table"]["start pose held"]
    assert held["pel_mpjpe_mm"]["mean"] > 5, "estimates from pictures err in pose as well"
    assert image["table"]["shapenet"]["mpjpe_mm"]["mean"] == pytest.approx(held["mpjpe_mm"]["mean"], rel=1e-3)


def test_networks_of_layout_b_in_text_and_markdown(
    roots: dict[str, Path], networks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = ["--weights", str(networks / "shapenet"), "--flow-weights", str(networks / "flownet")]
    words = ["--data", str(roots["B"]), "--clips", "tracker-8", *weights]
    page = tmp_path / "table.md"
    assert main(["evaluate", "mmhpsd", *words, "-o", str(page)]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert told.err.startswith(f"{NAME}: root-aligned ")
    assert lines[0].split() == ["method", *METRICS[:5]]
    assert [line.split("  ")[0] for line in lines[1:3]] == ["shapenet", "mean pose"]
    assert any(line.startswith("root-aligned error below mean pose: ") for line in lines)
    assert any(
        line.startswith("test subjects, clips of 8 steps (1.07 s), without overlap;") for line in lines
    )
    sha = read_card(networks / "shapenet").sha256[:12]
    (seen,) = [line for line in lines if line.startswith("shapenet (fixed variant")]
    assert f"shapenet {sha}, flow of flownet " in seen
    assert "found in the clip's events, at 64 px, in windows of 67 ms" in seen
    assert "this set is a synthetic one" in lines[-1]
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# MMHPSD") and f"- {seen}" in text and "## mean pose, by sequence" in text

    words[-4:] = ["--weights", str(networks / "shapenet-noflow"), "--start", "true"]
    crops = {crop: evaluated([*words, "--crop", crop], capsys) for crop in ("person", "image", "true-box")}
    assert ", without flow) sees a square around the person" in crops["person"]["conditions"][1]
    assert "sees the whole image" in crops["image"]["conditions"][1]
    assert "which tells where the person is" in crops["true-box"]["conditions"][1]
    person, image, box = (report["table"]["mean pose"]["mpjpe_mm"]["mean"] for report in crops.values())
    assert person == image, "nobody stands out of these events, so the square is the whole image"
    assert box != image
    held = [report["table"]["start pose held"] for report in crops.values()]
    assert held[0] == held[1] == held[2]


def test_trained_weights_are_evaluated_on_their_own_body(
    roots: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run, "PROBE_CLIPS", 8)
    foreign = random_shapenet(replace(SHAPE, use_flow=False))
    foreign.rest_pelvis.add_(1.0)
    training = {"training": {"body": "smpl"}}
    save_network(tmp_path / "foreign", foreign, WeightsCard(system="", config={}, data=training))
    data = ["--data", f"mmhpsd:{roots['B']}", "--no-use-flow", "--num-windows", "2", "-o", str(tmp_path)]
    tiny = "--steps 2 --batch-size 1 --size-px 32 --width 8 --workers 0 --precision 32-true".split()
    assert main(["train", "shapenet", *data, *tiny]) == 0
    card = read_card(tmp_path / "shapenet")
    assert card.data["training"]["body"] == "open"
    network, _ = load_network(tmp_path / "shapenet")
    np.testing.assert_allclose(network.rest_pelvis, open_body().J_template[0], atol=1e-6)
    capsys.readouterr()
    words = ["--data", str(roots["B"]), "--clips", "tracker-8", "--weights"]
    report = evaluated([*words, str(tmp_path / "shapenet")], capsys)
    assert ", without flow" in report["conditions"][1] and list(report["table"]) == ["shapenet", "mean pose"]
    assert main(["evaluate", "mmhpsd", *words, str(tmp_path / "foreign")]) == 2
    assert "trained on bodies of model 'smpl', the set's are 'open'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("layout", "words", "said"),
    [
        ("A", "", "holds event frames without polarity, but no single events"),
        ("A", "--weights STILL", "give one with --start true or --start image"),
        ("A", "--weights STILL --start true --crop person", "its crop must stand still"),
        ("A", "--weights STILL --start true --split val", "no sequence of the recommended val split"),
        ("A", "--weights STILL --start true --clips tracker-64", "no clip of 64 steps without gaps"),
        ("B", "--start image", "comes without estimates from pictures"),
        ("B", "-o x.png", "tables are written as .csv or .md"),
        ("B", "--weights NETS/flownet", "expected ShapeNet weights; got FlowNet"),
        ("B", "--weights NETS/shapenet --flow-weights NETS/shapenet", "expected FlowNet weights"),
        (
            "B",
            "--weights NETS/shapenet --flow-weights NETS/flownet-parity",
            "this FlowNet reads binary frames",
        ),
        ("B", "--weights nowhere", "no weights card"),
        ("..", "", "expected the folders of MMHPSD"),
    ],
)
def test_refusals_are_one_line(
    layout: str, words: str, said: str, roots: dict[str, Path], networks: Path, still: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    data = roots["A"].parent if layout == ".." else roots[layout]
    if "NETS" not in words and "STILL" not in words and "nowhere" not in words:
        words += " --weights NETS/shapenet-noflow"
    rest = words.replace("STILL", str(still)).replace("NETS", str(networks)).split()
    assert main(["evaluate", "mmhpsd", "--data", str(data), *rest]) == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.startswith("eventhpe: ") and told.out == ""
    assert told.err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_the_real_set_needs_the_users_smpl(
    roots: dict[str, Path], still: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Without the README of sets that we make, a set is taken for MMHPSD itself."""
    monkeypatch.delenv("EVENTHPE_HOME", raising=False)
    shutil.copytree(roots["A"], tmp_path / "set")
    (tmp_path / "set" / "README.txt").unlink()
    words = ["--data", str(tmp_path / "set"), "--weights", str(still), "--start", "true"]
    assert main(["evaluate", "mmhpsd", *words]) == 2
    assert "SMPL model (male)" in capsys.readouterr().err


def test_estimates_from_pictures_are_of_mmhpsd_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "capture", "--data", str(tmp_path), "--start", "image"]) == 2
    assert "--start image goes with `evaluate mmhpsd`, not capture" in capsys.readouterr().err
