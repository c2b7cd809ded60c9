"""The pose systems from the command line: trained for two steps, scored, and used on a recording."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eventhpe.cli.main import main
from eventhpe.data.pose_files import read_poses
from eventhpe.weights.files import read_card

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging intervals

SMALL = "--steps 2 --batch-size 2 --size-px 64 --width 4 --workers 0 --precision 32-true".split()
DECODER = ["--head-options", "channels=8"]


@pytest.fixture(scope="module")
def trained(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights of every pose system after two steps."""
    root, data = tmp_path_factory.mktemp("systems"), f"synthetic:{recordings}"
    volume = ["--head-options", "width=0.05", "depth_bins=8"]
    systems = {
        "heatmap": DECODER, "integral": DECODER, "regression": [],
        "simdr": ["--head-options", "channels=8", "depth_bins=16"],
        "volumetric": volume, "hemlets": [*volume, "--skeleton", "smpl24", "--weak-share", "0.5"],
        "swahr": ["--image-size", "96", "96"], "hsjp": [],
    }  # fmt: skip
    made = {}
    for system, words in systems.items():
        out = root / system
        assert main(["train", system, "--data", data, *SMALL, *words, "-o", str(out)]) == 0
        made[system] = out / f"{system}.safetensors"
    words = ["--hemlets", str(made["hemlets"]), "-o", str(root / "posh")]
    assert main(["train", "posh", "--data", data, *SMALL, *words]) == 0
    return {**made, "posh": root / "posh" / "posh.safetensors"}


def test_cards_say_what_was_trained(trained: dict[str, Path]) -> None:
    systems = {name: read_card(path) for name, path in trained.items()}
    assert {name: c.system for name, c in systems.items()} == {
        **dict.fromkeys(("heatmap", "integral", "regression", "simdr", "volumetric", "hemlets"), "pose"),
        "swahr": "swahr", "hsjp": "hsjp", "posh": "posh",
    }  # fmt: skip
    assert systems["simdr"].config["options"] == {"channels": 8, "depth_bins": 16}
    assert systems["hemlets"].data["training"]["weak_share"] == 0.5
    assert systems["swahr"].data["training"]["size"] == [96, 96]
    assert systems["posh"].data["training"]["stage_shares"] == [0.0, 0.6, 0.4]
    assert all(c.data["training"]["steps_done"] == 2 for c in systems.values())


def test_jigsaw_weights_begin_a_head(trained: dict[str, Path], recordings: Path, tmp_path: Path) -> None:
    words = ["--pretrained", str(trained["hsjp"]), *DECODER, "-o", str(tmp_path / "out")]
    assert main(["train", "heatmap", "--data", f"synthetic:{recordings}", *SMALL, *words]) == 0
    assert (
        read_card(tmp_path / "out" / "heatmap").data["training"]["pretrained"] == "hsjp.safetensors, encoder"
    )


@pytest.mark.parametrize("system", ["simdr", "posh"])
def test_evaluate_in_space(
    system: str, trained: dict[str, Path], recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(recordings), "--weights", str(trained[system]), "--json"]
    assert main(["evaluate", "pose3d", *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["table"]) == {system, f"{system}, true root depth", "constant"}
    assert report["recordings"] == 2 and report["poses"] > 10
    assert all(np.isfinite(s["mean"]) for row in report["table"].values() for s in row.values())


def test_hemlets_tells_its_orders(
    trained: dict[str, Path], recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "pose3d", "--data", str(recordings), "--weights", str(trained["hemlets"])]) == 0
    assert "depth orders right: " in capsys.readouterr().out


def test_evaluate_in_the_image(
    trained: dict[str, Path], recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(recordings), "--weights", str(trained["heatmap"]), "--compare"]
    assert main(["evaluate", "pose2d", *words, str(trained["regression"])]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("heatmap", "regression", "constant", "px_moving"))
    assert main(["evaluate", "pose2d", "--data", str(recordings), "--weights", str(trained["swahr"])]) == 0
    told = capsys.readouterr().out
    assert "box_recall" in told and "sure_precision" in told


def test_pose_writes_its_files(
    trained: dict[str, Path], recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = sorted(recordings.glob("*.h5"))[0], tmp_path / "out"
    words = [str(file), "-o", str(out), "--weights", str(trained["simdr"]), "--finder", "density"]
    assert main(["pose", *words]) == 0
    told = capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {"poses.npz", "poses.csv", "poses.json", "poses.mp4"}
    assert "no calibration given" in told and "person 0" in told
    poses = read_poses(out / "poses.npz")
    (person,) = poses.people
    assert person.xyz is not None and np.isfinite(person.xyz).all() and (person.xyz[..., 2] > 0).all()
    assert poses.provenance["finder"] == "density" and poses.provenance["head"] == "simdr"
    # An untrained network answers somewhere in the crop it was shown.
    low, high = person.box[:, None, :2] - 1, person.box[:, None, 2:] + 1
    assert ((person.uv >= low) & (person.uv <= high)).all()
    annotations = json.loads((out / "poses.json").read_text())["annotations"]
    assert len(annotations) == len(person.window)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["evaluate", "pose2d", "--data", "{data}"], "needs --weights"),
        (["evaluate", "pose3d", "--data", "{data}", "--weights", "{swahr}"], "in the image only"),
        (["evaluate", "pose3d", "--data", "{data}", "--weights", "{heatmap}"], "gives depth"),
        (["evaluate", "pose2d", "--data", "{data}", "--weights", "{hsjp}"], "of a head, of PoSh or of SWAHR"),
        (["train", "simdr", "--data", "recordings:{data}"], "only hsjp learns from it"),
        (["train", "simdr", "--data", "synthetic:{data}", "--head-options", "k"], "NAME=VALUE"),
        (["train", "simdr", "--data", "synthetic:{data}", "--head-options", "bins=3"], "no option bins"),
        (["train", "hemlets", "--data", "synthetic:{data}", "--skeleton", "dhp19"], "14 parts"),
        (["train", "swahr", "--data", "synthetic:{data}", "--image-size", "90", "96"], "multiple of 32"),
        (
            ["train", "heatmap", "--data", "synthetic:{data}", "--pretrained", "{simdr}"],
            "eventhpe train hsjp",
        ),
        (["train", "posh", "--data", "synthetic:{data}", "--hemlets", "{hsjp}"], "eventhpe train hemlets"),
        (["pose", "{file}", "-o", "{tmp}/out", "--weights", "{hsjp}"], "weights of a head"),
        (["pose", "{file}", "-o", "{file}", "--weights", "{simdr}"], "expected a folder"),
    ],
)
def test_wrong_words(
    words: list[str],
    reason: str,
    trained: dict[str, Path],
    recordings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = sorted(recordings.glob("*.h5"))[0]
    known = {
        **{k: str(v) for k, v in trained.items()},
        "data": str(recordings),
        "file": str(file),
        "tmp": str(tmp_path),
    }
    asked = [word.format(**known) for word in words]
    if asked[0] == "train":
        asked += ["--size-px", "64", "--width", "4", "--workers", "0", "-o", str(tmp_path / "run")]
    assert main(asked) == 2
    assert reason in capsys.readouterr().err


def test_capture_with_a_guessed_start(
    trained: dict[str, Path], recordings: Path, networks: Path, tmp_path: Path
) -> None:
    from eventhpe.body.motion_file import load_motion

    file = str(sorted(recordings.glob("*.h5"))[0])
    words = ["--weights", str(networks / "shapenet"), "--flow-weights", str(networks / "flownet")]
    plain, guessed = tmp_path / "plain", tmp_path / "guessed"
    assert main(["capture", file, *words, "-o", str(plain)]) == 0
    assert main(["capture", file, *words, "--start-weights", str(trained["posh"]), "-o", str(guessed)]) == 0
    a, b = (load_motion(folder / "motion.npz") for folder in (plain, guessed))
    assert "by HEMlets PoSh" in " ".join(b.provenance["notes"]) and "start weights" in b.provenance
    assert "HEMlets" not in " ".join(a.provenance["notes"])
    assert np.abs(a.params.transl[0] - b.params.transl[0]).max() > 1e-3, "the guess is used"


def test_capture_follows_found_people(
    trained: dict[str, Path], recordings: Path, networks: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = str(sorted(recordings.glob("*.h5"))[0])
    words = ["--weights", str(networks / "shapenet"), "--flow-weights", str(networks / "flownet")]
    asked = ["capture", file, *words, "-o", str(tmp_path / "out")]
    # Two steps of training find nobody; that is said.
    people = ["--people-weights", str(trained["swahr"])]
    assert main([*asked, *people, "--person", "0"]) == 2
    assert "nobody was found" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main([*asked, *people]) == 0
    assert "found nobody; the crop follows whatever moves most" in capsys.readouterr().out
    assert main([*asked, "--finder", "density", "--person", "0"]) == 2
    assert "goes with --finder network" in capsys.readouterr().err
    assert main([*asked, "--start-weights", str(trained["simdr"])]) == 2
    assert "eventhpe train posh" in capsys.readouterr().err
