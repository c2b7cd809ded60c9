"""The doctor finds what is wrong and says what to do."""

from __future__ import annotations

import json

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
