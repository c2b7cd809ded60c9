"""The package as something one installs: version, names, dependencies, files in the wheel."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import eventhpe

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def requirements(lines: list[str]) -> list[Requirement]:
    """Requirements with our own extras unfolded."""
    found = []
    for line in lines:
        requirement = Requirement(line)
        if requirement.name == "eventhpe":
            found += [r for extra in requirement.extras for r in requirements(EXTRAS[extra])]
        else:
            found.append(requirement)
    return found


def pins() -> dict[str, str]:
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_version_is_told_once():
    assert re.fullmatch(r"\d+\.\d+\.\d+", eventhpe.__version__)
    assert "version" in PROJECT["dynamic"]
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == eventhpe.__version__
    assert f"## [{eventhpe.__version__}]" in (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in eventhpe.__all__ if name != "__version__"])
def test_public_names_resolve(name):
    assert callable(getattr(eventhpe, name))
    assert name in dir(eventhpe)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'voxels'"):
        _ = eventhpe.voxels


def test_constraints_are_plain_pins():
    for name, version in pins().items():
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", name), name
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), (
            f"{name}=={version}: local versions tie the pin to one index"
        )
    assert pins()["torch"] == "2.13.0"


def test_core_and_test_requirements_are_pinned_within_their_bounds():
    for requirement in requirements(PROJECT["dependencies"] + EXTRAS["test"]):
        version = pins()[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(Version(version)), requirement


def test_dependencies_are_lower_bounds_from_the_index():
    for requirement in requirements(
        PROJECT["dependencies"] + [r for extra in EXTRAS.values() for r in extra]
    ):
        assert requirement.url is None
        assert {s.operator for s in requirement.specifier} == {">="}, requirement
    forbidden = {"torchvision", "timm", "chumpy", "opencv-python"}
    assert not forbidden & {canonicalize_name(r.name) for r in requirements(PROJECT["dependencies"])}


def test_extras_named_in_messages_exist():
    for path in [
        *(CHECKOUT / "eventhpe").rglob("*.py"),
        *CHECKOUT.glob("*.md"),
        *(CHECKOUT / "docs").rglob("*.md"),
    ]:
        for extras in re.findall(r"eventhpe\[([\w,-]+)\]", path.read_text(encoding="utf-8")):
            assert set(extras.split(",")) <= set(EXTRAS), path


def test_the_wheel_holds_the_data_and_nothing_foreign(tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel")
    (built,) = wheel.WheelBuilder(str(CHECKOUT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(built).namelist()
    ours = [n for n in names if not n.split("/")[0].endswith(".dist-info")]
    assert all(n.startswith("eventhpe/") for n in ours)
    assert "eventhpe/py.typed" in ours
    for folder, ending in (
        ("body/assets", ".npz"),
        ("weights", ".safetensors"),
        ("weights", ".json"),
        ("assets", ".aedat"),
    ):
        assert any(n.startswith(f"eventhpe/{folder}/") and n.endswith(ending) for n in ours), (
            f"{folder}/*{ending}"
        )
    in_tree = {p.relative_to(CHECKOUT).as_posix() for p in (CHECKOUT / "eventhpe").rglob("*.py")}
    assert in_tree <= set(ours)
    assert any(n.endswith("NOTICE") for n in names) and any(n.endswith("LICENSE") for n in names)
