"""Nothing happens at import: no heavy libraries, no environment variables, no output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import eventhpe

PACKAGE = Path(eventhpe.__file__).parent
HEAVY = {"torch", "numba", "cv2", "matplotlib", "h5py", "lightning", "scipy", "jsonargparse"}


def modules_of_package() -> list[str]:
    names = (path.relative_to(PACKAGE.parent).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    return sorted(
        ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for parts in names
        if parts[-1] != "__main__"
    )


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(statement: str) -> set[str]:
    return set(json.loads(run(f"import json, sys; {statement}; print(json.dumps(list(sys.modules)))")))


def test_the_package_and_the_front_door_load_nothing_heavy():
    for statement in (
        "import eventhpe",
        "import eventhpe.cli.main; eventhpe.cli.main.help_text()",
        "import eventhpe.systems",
    ):
        assert not loaded_by(statement) & HEAVY, statement


def test_lazy_names_load_only_what_they_need():
    assert "torch" not in loaded_by("import eventhpe; eventhpe.Events; eventhpe.Camera")


def test_option_declarations_load_no_torch():
    verbs = [name for name in modules_of_package() if name.startswith("eventhpe.cli.")]
    loaded = loaded_by(f"import {', '.join(verbs)}")
    assert not loaded & {"torch", "numba", "lightning", "cv2"}


def test_rooms_are_free_of_imports():
    rooms = [
        name
        for name in modules_of_package()
        if (PACKAGE.parent / Path(*name.split(".")) / "__init__.py").is_file()
    ]
    assert len(rooms) > 10
    assert not loaded_by(f"import {', '.join(rooms)}") & HEAVY


def test_importing_every_module_changes_nothing_and_prints_nothing():
    """Environment, working directory and random state of the caller stay theirs."""
    training = [name for name in modules_of_package() if name.startswith("eventhpe.training")]
    script = f"""
import os, random, importlib
environment, folder, state = dict(os.environ), os.getcwd(), random.getstate()
for name in {sorted(set(modules_of_package()) - set(training))!r}:
    importlib.import_module(name)
assert random.getstate() == state
for name in {training!r}:  # Lightning draws random numbers while it loads
    importlib.import_module(name)
ours = {{k for k, v in os.environ.items() if environment.get(k) != v}}
# Libraries below us set these by themselves.
libraries = ("KMP_", "TORCH", "PYTORCH_", "GRPC_", "TF_", "OPENCV_", "QT_", "LD_")
ours = {{k for k in ours if not k.startswith(libraries)}}
assert not ours, ours
assert os.getcwd() == folder
"""
    assert run(script) == ""
