"""The floors of the house: who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import eventhpe

PACKAGE = Path(eventhpe.__file__).parent
CHECKOUT = Path(__file__).resolve().parents[1]


def imports_of(path: Path) -> Iterator[str]:
    """Top-level name of every absolute import in a module, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def importers_of(*libraries: str) -> set[str]:
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if set(libraries) & set(imports_of(path))
    }


def test_import_linter_contracts_hold(monkeypatch, capsys):
    monkeypatch.chdir(CHECKOUT)
    code = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert code == 0, capsys.readouterr().out


def test_numba_only_in_kernels():
    homes = importers_of("numba")
    assert homes, "the package has Numba kernels"
    strays = [
        home for home in homes if not (Path(home).stem == "kernels" or Path(home).stem.startswith("kernels_"))
    ]
    assert strays == []


@pytest.mark.parametrize(
    ("library", "home"),
    [("smplx", "body/smplx_adapter.py"), ("pyrender", "render/gl.py"), ("rerun", "render/viewer.py")],
)
def test_optional_libraries_have_one_home(library, home):
    assert importers_of(library) <= {home}


def test_lightning_only_in_training():
    strays = [
        home for home in importers_of("lightning", "pytorch_lightning") if not home.startswith("training/")
    ]
    assert strays == []


def test_what_is_never_imported():
    banned = (
        "torchvision",
        "timm",
        "chumpy",
        "opendr",
        "tonic",
        "evutils",
        "expelliarmus",
        "importRosbag",
        "bimvee",
    )
    assert importers_of(*banned) == set()


def test_no_room_is_a_drawer():
    """A module is named after what it does."""
    drawers = {"utils", "util", "helpers", "misc", "common", "tools"}
    assert [p.name for p in PACKAGE.rglob("*.py") if p.stem in drawers] == []


def test_prints_only_in_the_command_line():
    def prints(path: Path) -> bool:
        return any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )

    assert [
        str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if p.parent.name != "cli" and prints(p)
    ] == []


def test_no_pickle_is_loaded_blindly():
    """np.load(allow_pickle=True), pickle.load and torch.load without weights_only run code from the file."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            called = ast.unparse(node.func)
            where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
            assert keywords.get("allow_pickle", "False") == "False", where
            assert called not in ("pickle.load", "pickle.loads", "joblib.load", "yaml.load"), where
            assert called != "torch.load" or keywords.get("weights_only") == "True", where
