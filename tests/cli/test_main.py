"""The table of verbs, the parser made from a dataclass, exit codes."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

import pytest

import eventhpe
from eventhpe.cli import main as cli
from eventhpe.cli.parse import build_parser, field_docstrings, parse_options
from eventhpe.errors import FormatError

VERBS = list(cli.verbs())


@dataclass(frozen=True)
class Options:
    """Options of a verb that exists only here."""

    inputs: tuple[Path, ...]
    """Files to read, 100% of each."""
    output: Path
    """Where the result
    goes."""
    data: str = field(kw_only=True)
    """A required option."""
    time_unit: Literal["s", "us"] | None = None
    """Unit of the time column."""
    json: bool = False
    """Print JSON."""
    mesh: bool = True
    """Draw the mesh."""
    num_bins: int = 5
    """Number of bins."""
    scale: float = 0.5
    """A factor."""
    cameras: tuple[int, ...] = ()
    """Cameras to use."""
    name: str | None = None
    """A name."""


def parse(*words: str) -> Options:
    return parse_options("train", "help", Options, words)


def test_positionals_required_options_and_defaults():
    options = parse("a.h5", "b.h5", "-o", "out", "--data", "x:y")
    assert options == Options(inputs=(Path("a.h5"), Path("b.h5")), output=Path("out"), data="x:y")


def test_every_kind_of_option():
    words = "--time-unit us --json --no-mesh --num-bins 7 --scale 2 --cameras 1 2 --name 12"
    options = parse("a", "--output", "o", "--data", "d", *words.split())
    assert options.time_unit == "us" and options.json is True and options.mesh is False
    assert (options.num_bins, options.scale, options.cameras, options.name) == (7, 2.0, (1, 2), "12")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("a --data d", "output"),
        ("-o o --data d", "inputs"),
        ("a -o o", "data"),
        ("a -o o --data d --time-unit ms", "time_unit"),
        ("a -o o --data d --num-bins x", "num_bins"),
        ("a -o o --data d --bins 3", "--bins"),
    ],
)
def test_wrong_words_exit_with_2_and_name_the_culprit(words, complaint, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(*words.split())
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_options_from_yaml_with_overrides(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("num_bins: 9\ntime_unit: s\nscale: 0.25\n")
    options = parse("--config", str(config), "a", "-o", "o", "--data", "d", "--scale", "4")
    assert (options.num_bins, options.time_unit, options.scale) == (9, "s", 4.0)


def test_required_options_may_come_from_yaml(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("data: x:y\noutput: out\n")
    assert parse("--config", str(config), "a").output == Path("out")


def test_unknown_key_in_yaml_is_refused(tmp_path, capsys):
    config = tmp_path / "run.yaml"
    config.write_text("num_bin: 9\n")
    with pytest.raises(SystemExit):
        parse("--config", str(config), "a", "-o", "o", "--data", "d")
    assert "num_bin" in capsys.readouterr().err


def test_printed_config_can_be_read_back(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        parse("a", "-o", "o", "--data", "d", "--num-bins", "8", "--print_config")
    assert stop.value.code in (0, None)
    config = tmp_path / "run.yaml"
    config.write_text(capsys.readouterr().out)
    assert parse("--config", str(config), "a", "-o", "o", "--data", "d").num_bins == 8


def test_help_says_what_the_docstrings_say():
    text = " ".join(build_parser("train", "what it does", Options).format_help().split())
    assert "what it does" in text and "Files to read, 100% of each." in text
    assert "Where the result goes. (required)" in text and "(default: 5)" in text
    assert "{s,us}" in text and "type:" not in text
    assert field_docstrings(Options)["json"] == "Print JSON."


def test_help_lists_every_verb_module_and_nothing_else(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    modules = {path.stem for path in Path(cli.__file__).parent.glob("*.py")}
    for name, line in cli.verbs().items():
        assert name in modules and f"  {name} " in text and line in text
    assert cli.main([]) == 0
    assert capsys.readouterr().out == text


def test_the_release_has_its_verbs():
    needed = "demo info convert simulate train evaluate capture render systems doctor".split()
    assert [name for name in needed if name not in VERBS] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_keeps_the_contract_and_explains_itself(verb, capsys):
    module = import_module(f"eventhpe.cli.{verb}")
    assert cli.verbs()[verb] == module.HELP and len(module.HELP) < 100
    documented = field_docstrings(module.Options)
    undocumented = [name for name in module.Options.__dataclass_fields__ if not documented.get(name)]
    assert undocumented == []
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code in (0, None)
    assert f"usage: eventhpe {verb}" in capsys.readouterr().out


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"eventhpe {eventhpe.__version__}\n"


def test_unknown_verb_suggests_a_near_one(capsys):
    assert cli.main(["docter"]) == 2
    assert "did you mean `eventhpe doctor`?" in capsys.readouterr().err
    assert cli.main(["zzz"]) == 2
    assert "doctor" in capsys.readouterr().err


def test_errors_become_one_line_and_code_2(capsys):
    def fail(error: BaseException) -> int:
        raise error

    assert cli.guarded(fail, FormatError("a.h5: no events")) == 2
    assert capsys.readouterr().err == "eventhpe: FormatError: a.h5: no events\n"
    assert cli.guarded(fail, FileNotFoundError(2, "No such file or directory", "a.h5")) == 2
    assert "a.h5" in capsys.readouterr().err
    assert cli.guarded(fail, KeyboardInterrupt()) == 130
    with pytest.raises(ZeroDivisionError):
        cli.guarded(fail, ZeroDivisionError("a defect of ours keeps its traceback"))


def test_a_closed_pipe_is_no_traceback():
    script = (
        "import sys; from eventhpe.cli.main import guarded; sys.exit(guarded(lambda: print('x' * 10**7)))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_help_answers_within_half_a_second():
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "eventhpe", "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5, seconds


def test_systems_lists_all_six_and_the_baseline(capsys):
    import json

    assert cli.main(["systems", "--json"]) == 0
    listed = {system["name"]: system["status"] for system in json.loads(capsys.readouterr().out)}
    names = {
        "EventHPE", "DHP19 CNN", "HEMlets", "HEMlets PoSh", "HSJP", "SAHR + WAHR", "SimDR",
    }  # fmt: skip
    assert listed == dict.fromkeys(names, "available")
    assert cli.main(["systems"]) == 0
    assert "Zou et al." in capsys.readouterr().out


def test_every_system_has_its_code_recipes_and_page():
    from importlib.util import find_spec
    from typing import get_args, get_type_hints

    from eventhpe.cli.train import Options
    from eventhpe.systems import SYSTEMS

    trainable = set(get_args(get_type_hints(Options)["system"]))
    pages = Path(__file__).resolve().parents[2] / "docs"
    for system in SYSTEMS:
        assert [module for module in system.code if find_spec(module) is None] == [], system.name
        assert (pages / system.docs).is_file(), system.docs
    recipes = [recipe for system in SYSTEMS for recipe in system.recipes]
    assert sorted(recipes) == sorted(trainable)
