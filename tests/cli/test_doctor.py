"""The doctor finds what is wrong and says what to do."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from eventhpe.cli import checks, doctor
from eventhpe.cli.main import main
from eventhpe.errors import FormatError


def test_report_as_text_and_as_json(capsys):
    code = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert states["rasteriser"] == "ok" and states["python"] == "ok" and states["torch"] == "ok"
    assert report["ready"] == ("fail" not in states.values()) == (code == 0)


def test_this_installation_is_ready(capsys):
    assert main(["doctor"]) == 0, capsys.readouterr().out
    assert "Ready" in capsys.readouterr().out


def test_a_failed_check_makes_the_exit_code_1(monkeypatch, capsys):
    bad = checks.Check("disk", "fail", "no disk", "buy one")
    monkeypatch.setattr(doctor, "all_checks", lambda: [bad])
    assert doctor.run(doctor.Options()) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out and "buy one" in out and "Not ready: disk" in out


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def broken() -> checks.Check:
        raise RuntimeError("no driver")

    found = checks._safely("torch", broken)
    assert found.state == "fail" and "RuntimeError: no driver" in found.text


def test_weights_are_compared_with_their_cards(monkeypatch, tmp_path):
    weights = pytest.importorskip("eventhpe.weights.files")
    monkeypatch.setattr(weights, "shipped", lambda name: tmp_path / name)
    monkeypatch.setattr(
        weights, "shipped_names", lambda: sorted(p.stem for p in tmp_path.glob("*.safetensors"))
    )
    assert checks.shipped_weights().state == "fail"
    card = weights.WeightsCard(system="flownet", config={})
    weights.save_tensors(tmp_path / "small", {"bias": torch.zeros(4)}, card)
    found = checks.shipped_weights()
    assert found.state == "ok" and "small" in found.text
    weights.save_tensors(tmp_path / "other", {"bias": torch.ones(4)}, card)
    (tmp_path / "other.safetensors").replace(tmp_path / "small.safetensors")
    (tmp_path / "other.json").unlink()
    found = checks.shipped_weights()
    assert found.state == "fail" and "sha256" in found.text


def test_the_open_body_must_be_there(monkeypatch):
    default = pytest.importorskip("eventhpe.body.default")
    found = checks.open_body()
    assert found.state == "ok" and "vertices" in found.text

    def absent() -> None:
        raise FormatError("open_body.npz: not a zip file")

    monkeypatch.setattr(default, "open_body_arrays", absent)
    found = checks.open_body()
    assert found.state == "fail" and "not a zip" in found.text and found.cure


def test_smpl_files_are_optional_and_found(monkeypatch, tmp_path):
    pytest.importorskip("eventhpe.body.smpl_file")
    monkeypatch.delenv("EVENTHPE_HOME", raising=False)
    assert checks.smpl_files().state == "note" and "EVENTHPE_HOME" in checks.smpl_files().cure
    monkeypatch.setenv("EVENTHPE_HOME", str(tmp_path))
    assert str(tmp_path / "models") in checks.smpl_files().cure
    (tmp_path / "models" / "smpl").mkdir(parents=True)
    (tmp_path / "models" / "smpl" / "SMPL_NEUTRAL.pkl").write_bytes(b"")
    found = checks.smpl_files()
    assert found.state == "ok" and "SMPL_NEUTRAL.pkl" in found.text


def test_a_torchvision_that_does_not_import_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "_installed", lambda name: True)
    monkeypatch.setattr(checks, "version", lambda name: "0.0.0")
    (tmp_path / "torchvision").mkdir()
    broken = tmp_path / "torchvision" / "__init__.py"
    broken.write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = checks.torchvision_trap()
    assert found.state == "fail" and "nms" in found.text and "uninstall" in found.cure
    broken.write_text("")
    assert checks.torchvision_trap().state == "ok"


def half_a_set(root):
    """Layout B of MMHPSD with one sequence: gray frames 0 to 3, events of 0 and 1, no poses."""
    import cv2

    from eventhpe.data.mmhpsd_layout_b import pack_frame

    folder = root / "mmhpsd_events" / "subject03_group1_time1"
    pictures = root / "mmhpsd_grayscale_img" / folder.name / "imgs"
    for made in (folder / "events_frame_04", pictures):
        made.mkdir(parents=True)
    (root / "README.txt").write_text("beta are those of the OPEN body of eventhpe, not of SMPL.")
    for k in range(4):
        cv2.imwrite(str(pictures / f"fullpic{k:04d}.jpg"), np.zeros((256, 256), np.uint8))
    for k in range(2):
        packed = pack_frame(np.zeros((256, 256, 4), bool))
        np.savez(folder / "events_frame_04" / f"events_{k:04d}.npz", events_frame=packed)
    return root


def test_a_data_set_is_looked_at_file_by_file(tmp_path, capsys):
    root = half_a_set(tmp_path)
    missing = "mmhpsd_events/subject03_group1_time1/poses"
    assert main(["doctor", "--data", f"mmhpsd:{root}"]) == 1
    out = capsys.readouterr().out
    assert "mmhpsd, layout B" in out and f"FAIL  {missing}: is absent or empty" in out
    assert "Not whole: 1 file is missing" in out and "Python" not in out, "the machine is not looked at"
    assert main(["doctor", "--data", f"mmhpsd:{root}", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    grave = [p["path"] for p in report["problems"] if p["grave"]]
    assert grave == [missing] and report["ready"] is False and report["files"] == 6

    poses = root / missing
    poses.mkdir()
    arrays = {"beta": 10, "body_pose": 72, "trans": 3, "joints3d": 72, "joints2d": 72}
    np.savez(poses / "pose_0000.npz", **{name: np.zeros(size) for name, size in arrays.items()})
    assert main(["doctor", "--data", f"mmhpsd:{root}"]) == 0
    assert "Whole: nothing that must be there is missing." in capsys.readouterr().out


def test_many_missing_files_are_cut_in_text_and_whole_in_json(tmp_path, capsys):
    (tmp_path / "DVS_movies").mkdir()
    assert main(["doctor", "--data", f"dhp19:{tmp_path}"]) == 1
    out = capsys.readouterr().out
    assert out.count("FAIL") == 40 and "more; --json lists all." in out
    assert main(["doctor", "--data", f"dhp19:{tmp_path}", "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert len(problems) == 2 * 17 * 33 + 4 + 1 and {p["text"] for p in problems} == {"is absent"}


@pytest.mark.parametrize("data", ["dhp19", "mmhpsd:", "coco:/tmp", "/tmp"])
def test_other_data_is_bad_input(data, capsys):
    assert main(["doctor", "--data", data]) == 2
    assert "--data must be dhp19:FOLDER or mmhpsd:FOLDER" in capsys.readouterr().err


def test_an_absent_data_set_is_bad_input(tmp_path, capsys):
    for kind in ("dhp19", "mmhpsd"):
        assert main(["doctor", "--data", f"{kind}:{tmp_path / 'nowhere'}"]) == 2
        assert f"datasets/{kind}/README.md" in capsys.readouterr().err
