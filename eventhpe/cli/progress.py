"""Progress bars that stay quiet without a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


def progress(items: Sequence[Any], what: str) -> Iterable[Any]:
    """Iterate with a bar named `what`."""
    return tqdm(items, desc=what, disable=None, leave=False)


@contextmanager
def progress_bar(total: int, what: str) -> Iterator[Callable[[], object]]:
    """A bar that advances when the given function is called."""
    with tqdm(total=total, desc=what, disable=None, leave=False) as bar:
        yield bar.update


def table(rows: Sequence[Sequence[str]], *, header: Sequence[str] = ()) -> str:
    """Plain text table; the first column is left-aligned, the others right-aligned."""
    lines = [list(header), *map(list, rows)] if header else [list(r) for r in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
