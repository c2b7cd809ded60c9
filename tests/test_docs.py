"""Every command in the README and the docs is one that exists, with options that exist."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from eventhpe.cli.main import verbs
from eventhpe.cli.parse import parse_options
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "datasets/*/README.md") for path in CHECKOUT.glob(pattern)
)
FENCE = re.compile(r"^```(bash|console|sh)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def commands_of(page: Path) -> list[list[str]]:
    """Words of each command in a page's bash and console blocks; `&&` chains are split, line ends joined."""
    found = []
    for kind, block in FENCE.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if kind == "console":
                if not line.startswith("$ "):
                    continue
                line = line[2:]
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                found.append(words[:end])
                words = words[end + 1 :]
    return [command for command in found if command]


def relative(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


OURS = [
    pytest.param(words, id=f"{relative(page)}: {' '.join(words)}")
    for page in PAGES
    for words in commands_of(page)
    if Path(words[0]).name == "eventhpe"
]


def test_the_readmes_python_runs(tmp_path, monkeypatch, capsys):
    (snippet,) = re.findall(
        r"^```python\n(.*?)^```", (CHECKOUT / "README.md").read_text(encoding="utf-8"), re.M | re.S
    )
    events = Events.from_columns(
        t=[0, 60_000, 70_000], x=[1, 2, 3], y=[4, 5, 6], p=[0, 1, 1], sensor_size=(20, 30)
    )
    with StoreWriter(
        tmp_path / "walk.aedat4", events.sensor_size
    ) as writer:  # recognised by content, not by name
        writer.append(events)
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[0] == "0 50000 1 (20, 30)"


def test_the_pages_are_found():
    assert {"README.md", "ARCHITECTURE.md", "docs/index.md", "docs/conventions.md", "docs/cli.md"} <= set(
        map(relative, PAGES)
    )
    assert len(OURS) > 15


@pytest.mark.parametrize("words", OURS)
def test_command_parses(words):
    verb, rest = words[1], words[2:]
    if verb in ("--help", "--version"):
        return
    assert verb in verbs(), f"no verb {verb!r}"
    rest = [word for word in rest if word != "--print_config"]
    if "--help" in rest:
        return
    if "--config" in rest:  # the file is the reader's own
        at = rest.index("--config")
        rest = rest[:at] + rest[at + 2 :]
    module = import_module(f"eventhpe.cli.{verb}")
    parse_options(verb, module.HELP, module.Options, rest)


def test_scripts_named_in_commands_exist():
    for page in PAGES:
        for words in commands_of(page):
            for word in words:
                if word.startswith("tools/") and word.endswith(".py"):
                    assert (CHECKOUT / word).is_file(), f"{relative(page)}: {word}"


def test_the_readme_opens_with_the_two_commands():
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    install = "python3 -m venv .venv && .venv/bin/python -m pip install -c constraints.txt"
    demo = f"{install} . && .venv/bin/eventhpe demo"
    test = f"{install} '.[test]' && .venv/bin/python -m pytest"
    assert demo in text and test in text
    assert text.index(demo) < 1000 and text.index(demo) < text.index(test)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_local_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), target


def test_every_verb_has_a_section_in_the_command_page():
    text = (CHECKOUT / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## `eventhpe (\w+)`", text, re.M)
    assert sections == list(verbs())


def test_tools_are_doors():
    for name in ("convert_events.py", "train_dhp19.py", "render_overlay.py"):
        lines = (CHECKOUT / "tools" / name).read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 20, name


def test_published_figures_on_the_pages_are_those_of_the_code():
    from eventhpe.evaluation.dhp19_published import PUBLISHED as ON_DHP19
    from eventhpe.evaluation.mmhpsd_published import PUBLISHED as ON_MMHPSD

    def cells(page: str, heading: str) -> list[list[str]]:
        text = (CHECKOUT / "docs" / "systems" / page).read_text(encoding="utf-8").split(heading)[1]
        lines = [line for line in text.split("\n## ")[0].splitlines() if line.startswith("| ")][1:]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:g}"

    rows = cells("dhp19_cnn.md", "## What to expect")
    assert len(rows) == len(ON_DHP19)
    for row, p in zip(rows, ON_DHP19, strict=True):
        assert row[:5] == [p.method, *map(number, (*p.px, p.mm))]
        assert row[5] == p.conditions + ("" if p.comparable else "; another protocol")
        assert row[6] == p.source
    rows = cells("eventhpe.md", "## What to expect")
    assert len(rows) == len(ON_MMHPSD)
    for row, q in zip(rows, ON_MMHPSD, strict=True):
        assert row[:4] == [q.method, str(q.num_steps), q.sees, q.start]
        assert row[4:8] == list(map(number, (q.mpjpe_mm, q.pel_mpjpe_mm, q.pa_mpjpe_mm, q.pckh)))
