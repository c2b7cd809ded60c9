"""The words that `eventhpe` was called with, for the provenance of what a verb writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_WORDS: ContextVar[tuple[str, ...] | None] = ContextVar("eventhpe_words", default=None)


@contextmanager
def called_with(words: Sequence[str]) -> Iterator[None]:
    """Inside, `command_line` tells these words: a caller of `main` in Python has others in `sys.argv`."""
    token = _WORDS.set(tuple(words))
    try:
        yield
    finally:
        _WORDS.reset(token)


def command_line(*, names_only: bool = False) -> str:
    """`eventhpe` and its words, separated by blanks.

    Args:
        names_only: of paths the last part, for files that are passed on.
    """
    words = _WORDS.get()
    words = tuple(sys.argv[1:]) if words is None else words
    return " ".join(["eventhpe", *(Path(w).name if names_only and "/" in w else w for w in words)])
