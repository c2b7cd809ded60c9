"""Frame-aligned supervision from the command line: a teacher on gray images, its joints, and ShapeNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eventhpe.cli.main import main
from eventhpe.data.pose_files import read_poses
from eventhpe.events.open import open_recording
from eventhpe.weights.files import read_card
from tests.small_world import copy_without

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging intervals

SMALL = "--steps 2 --batch-size 2 --size-px 64 --workers 0 --precision 32-true".split()
VOLUME = ["--head-options", "width=0.05", "depth_bins=8"]
NO_FLOW = ["--no-use-flow", "--width", "8", "--num-windows", "3"]


@pytest.fixture(scope="module")
def teacher(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher")
    words = ["--data", f"synthetic:{recordings}", "--input", "gray", "--width", "4", *SMALL, *VOLUME]
    assert main(["train", "hemlets", *words, "-o", str(out)]) == 0
    return out / "hemlets.safetensors"


@pytest.fixture(scope="module")
def joints(teacher: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("joints")
    words = ["--weights", str(teacher), "--finder", "density", "--no-video", "-o", str(out)]
    assert main(["pose", str(recordings), *words]) == 0
    return out


def test_a_head_that_reads_gray_images(teacher: Path, recordings: Path, joints: Path) -> None:
    card = read_card(teacher)
    assert card.config["in_channels"] == 1 and card.data["training"]["input_kind"] == "gray"
    for path in recordings.glob("*.h5"):
        poses = read_poses(joints / path.stem / "poses.npz")
        with open_recording(path) as recording:
            images = recording.frames
            assert images is not None
            times = images.t_us[(images.t_us >= 50_000) & (images.t_us <= recording.duration_us)]
        np.testing.assert_array_equal(poses.t_us, times)
        (person,) = poses.people
        assert person.order is not None and set(np.unique(person.order)) <= {-1, 0, 1}


def test_evaluation_shows_it_gray_images(
    teacher: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "pose2d", "--data", str(recordings), "--weights", str(teacher)]) == 0
    assert "hemlets" in capsys.readouterr().out


def test_a_folder_is_gone_on_with(
    teacher: Path, recordings: Path, joints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--weights", str(teacher), "--finder", "density", "--no-video", "-o"]
    before = {p: p.read_bytes() for p in joints.rglob("*.npz")}
    assert main(["pose", str(recordings), *words, str(joints)]) == 0
    assert "0 done, 2 there already, 0 failed" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in joints.rglob("*.npz")} == before
    # Other settings are other joints.
    assert main(["pose", str(recordings), *words, str(joints), "--no-flip"]) == 0
    assert "2 done, 0 there already" in capsys.readouterr().out
    # A recording without gray images fails alone.
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    first, second = sorted(recordings.glob("*.h5"))
    copy_without(first, mixed / "a.h5", "frames")
    (mixed / "b.h5").write_bytes(second.read_bytes())
    assert main(["pose", str(mixed), *words, str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert "1 done, 0 there already, 1 failed" in told.out and "read gray images" in told.err
    assert (tmp_path / "out" / "b" / "poses.npz").is_file() and not (tmp_path / "out" / "a").exists()


@pytest.mark.parametrize("pseudo", [False, True])
def test_shapenet_learns_with_a_frame_head(
    recordings: Path, joints: Path, tmp_path: Path, pseudo: bool
) -> None:
    words = ["--frame-head", "hemlets", *VOLUME, "--frame-weight", "0.2"]
    if pseudo:
        words += ["--frame-recordings", str(recordings), "--frame-poses", str(joints)]
        words += ["--frame-confidence", "0"]
    out = tmp_path / "out"
    asked = ["train", "shapenet", "--data", f"synthetic:{recordings}", *SMALL, *NO_FLOW, *words]
    assert main([*asked, "-o", str(out)]) == 0
    training = read_card(out / "shapenet").data["training"]
    assert training["frame"]["weight"] == 0.2 and training["frame"]["skeleton"] == "dhp19_15"
    assert training["frame_labels"] == (joints.name if pseudo else "own")
    # The weights are a ShapeNet's and nothing more, so a capture takes them.
    file = str(sorted(recordings.glob("*.h5"))[0])
    assert main(["capture", file, "--weights", str(out / "shapenet"), "-o", str(tmp_path / "body")]) == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["shapenet", "--frame-poses", "{joints}"], "with --frame-head"),
        (["shapenet", "--frame-head", "simdr", "--frame-poses", "{joints}"], "go together"),
        (["shapenet", "--frame-head", "simdr", "--variant", "parity"], "--variant fixed"),
        (
            ["shapenet", "--frame-head", "simdr", "--skeleton", "smpl24", "--frame-poses", "{joints}",
             "--frame-recordings", "{data}"],
            "bring their own",
        ),
        (
            ["shapenet", "--frame-head", "simdr", "--frame-poses", "{data}", "--frame-recordings", "{data}"],
            "find joints in them",
        ),
        (["flownet", "--frame-head", "simdr"], "ShapeNet's"),
        (["posh", "--input", "gray"], "not with posh"),
    ],
)  # fmt: skip
def test_wrong_words(
    words: list[str], reason: str, recordings: Path, joints: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked = [word.format(joints=joints, data=recordings) for word in words]
    system, rest = asked[0], asked[1:]
    flow = NO_FLOW if system == "shapenet" else []
    code = main(
        [
            "train",
            system,
            "--data",
            f"synthetic:{recordings}",
            *SMALL,
            *flow,
            *rest,
            "-o",
            str(tmp_path / "x"),
        ]
    )
    assert code == 2 and reason in capsys.readouterr().err


def test_no_recordings_in_a_folder(teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--weights", str(teacher), "--finder", "density", "-o", str(tmp_path / "out")]
    assert main(["pose", str(tmp_path), *words]) == 2
    assert "no .h5 recordings there" in capsys.readouterr().err
