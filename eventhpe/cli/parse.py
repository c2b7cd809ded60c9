'''From a dataclass of options to a command-line parser.

A verb declares its options once, as a frozen dataclass whose fields have a docstring underneath:

    @dataclass(frozen=True)
    class Options:
        file: Path                      -> positional FILE (add field(kw_only=True) for a required --file)
        """Recording to read."""
        output: Path                    -> required -o/--output
        """Where the result goes."""
        json: bool = False              -> --json
        """Print JSON."""
'''

from __future__ import annotations

import ast
import inspect
import textwrap
from argparse import SUPPRESS, Action
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter

T = TypeVar("T")

CONFIG_VERBS = ("simulate", "train")
"""Verbs whose options may come from a YAML file."""


def parse_options(verb: str, description: str, options: type[T], arguments: Sequence[str]) -> T:
    """Parse the words after `eventhpe VERB` into an instance of the verb's options.

    Raises:
        SystemExit: after --help (code 0), or with a message on stderr when the words are wrong (code 2).
    """
    values = build_parser(verb, description, options).parse_args(list(arguments))
    given = {f.name: values[f.name] for f in fields(options)}  # type: ignore[arg-type]
    for name, hint in get_type_hints(options).items():
        if get_origin(hint) is tuple and given[name] is not None:
            given[name] = tuple(given[name])
    return options(**given)


def build_parser(verb: str, description: str, options: type) -> ArgumentParser:
    """The parser of one verb."""
    parser = ArgumentParser(prog=f"eventhpe {verb}", description=description, formatter_class=_Help)
    if verb in CONFIG_VERBS:
        parser.add_argument("--config", action="config", metavar="YAML", help="Options from a YAML file.")
    hints, help_of = get_type_hints(options), field_docstrings(options)
    for field in fields(options):
        _add(parser, field, hints[field.name], help_of.get(field.name, ""))
    return parser


def field_docstrings(options: type) -> dict[str, str]:
    """The string underneath each field of a dataclass."""
    (cls,) = ast.parse(textwrap.dedent(inspect.getsource(options))).body
    assert isinstance(cls, ast.ClassDef)
    found = {}
    for node, after in zip(cls.body, cls.body[1:], strict=False):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(after, ast.Expr)
        ):
            if isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
                found[node.target.id] = " ".join(after.value.value.split())
    return found


def _add(parser: ArgumentParser, field: Field[Any], hint: Any, text: str) -> None:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    required = default is MISSING
    if isinstance(default, tuple):  # jsonargparse assigns to the items
        default = list(default)
    flag = "--" + field.name.replace("_", "-")
    if hint is bool and not required:
        if default:
            parser.add_argument(flag, action=ActionYesNo(no_prefix="no-"), default=True, help=text)
        else:
            parser.add_argument(flag, action="store_true", default=False, help=text)
        return

    keywords: dict[str, Any] = {"type": hint, "help": text}
    if get_origin(hint) in (list, tuple):
        keywords |= {"type": get_args(hint)[0], "nargs": "+"}
    choices = _choices(hint)
    if choices:
        keywords["metavar"] = "{" + ",".join(choices) + "}"
    if required and field.name != "output" and not field.kw_only:
        keywords.setdefault("metavar", field.name.upper())
        parser.add_argument(field.name, **keywords)
        return
    names = ("-o", flag) if field.name == "output" else (flag,)
    keywords |= {"required": True} if required else {"default": default}
    parser.add_argument(*names, **keywords)


def _choices(hint: Any) -> list[str]:
    """Words a Literal (or an optional Literal) allows."""
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    if get_origin(hint) in (Union, UnionType):
        return [word for part in get_args(hint) for word in _choices(part)]
    return []


class _Help(DefaultHelpFormatter):
    """Help without type annotations, and with defaults only where they say something."""

    def _get_help_string(self, action: Action) -> str:
        text = action.help or ""
        if action.required and action.option_strings:
            return f"{text} (required)"
        if action.option_strings and action.default not in (None, False, (), [], SUPPRESS):
            return f"{text} (default: %(default)s)"
        return text
