"""The command `eventhpe`: a plain table of verbs; a verb's own module is loaded only when it is asked for."""

from __future__ import annotations

import ast
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import eventhpe
from eventhpe.cli.command_line import called_with
from eventhpe.errors import EventHPEError

STORY = (
    "demo", "info", "convert", "simulate", "prepare", "train", "evaluate", "capture", "pose", "render",
    "export", "fit", "live", "calibrate", "view", "systems", "doctor",
)  # fmt: skip
"""The order in which verbs are listed. Only those with a module beside this one exist."""


def verbs() -> dict[str, str]:
    """Name and one line of help of every verb, read from the modules' text without importing them."""
    found = {}
    for path in Path(__file__).parent.glob("*.py"):
        text = _help_line(path)
        if text is not None:
            found[path.stem] = text
    rank = {name: i for i, name in enumerate(STORY)}
    return dict(sorted(found.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0])))


def _help_line(path: Path) -> str | None:
    """The string bound to HELP at the top level of a module, or None when the module is not a verb."""
    source = path.read_text(encoding="utf-8")
    if "HELP" not in source:
        return None
    for node in ast.parse(source).body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if any(isinstance(t, ast.Name) and t.id == "HELP" for t in targets):
            value = node.value  # type: ignore[attr-defined]
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                return value.value
    return None


def help_text() -> str:
    """What `eventhpe --help` prints."""
    table = verbs()
    width = max(map(len, table), default=0)
    lines = [f"  {name:<{width}}  {text}" for name, text in table.items()]
    return "\n".join(
        [
            f"eventhpe {eventhpe.__version__}: human motion from event cameras",
            "",
            "usage: eventhpe VERB [options]",
            "",
            *lines,
            "",
            "eventhpe VERB --help   says what a verb takes",
            "eventhpe --version     prints the version",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: 0 done, 2 bad input, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with called_with(arguments):
        return guarded(_dispatch, arguments)


def guarded(action: Callable[..., int | None], *arguments: object) -> int:
    """Call `action(*arguments)`; errors a user can mend become one line on stderr and exit code 2."""
    try:
        code = action(*arguments) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output left, as in `eventhpe info FILE | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("eventhpe: interrupted", file=sys.stderr)
        return 130
    except (EventHPEError, OSError) as error:
        print(f"eventhpe: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return code


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help"):
        print(help_text())
        return 0
    if first in ("-V", "--version"):
        print(f"eventhpe {eventhpe.__version__}")
        return 0
    table = verbs()
    if first not in table:
        near = difflib.get_close_matches(first, table, n=1)
        hint = f"did you mean `eventhpe {near[0]}`?" if near else f"verbs: {', '.join(table)}."
        print(f"eventhpe: no verb {first!r}; {hint}", file=sys.stderr)
        return 2

    from eventhpe.cli.parse import parse_options  # jsonargparse loads here, after the table of verbs

    module = import_module(f"eventhpe.cli.{first}")
    options = parse_options(first, module.HELP, module.Options, arguments[1:])
    return int(module.run(options))
