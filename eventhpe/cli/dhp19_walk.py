"""From DHP19's download to a table: the commands that `tools/train_dhp19.py` runs one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

SYSTEMS = ("cnn", "shapenet", "flownet", "simdr", "hemlets", "heatmap")


def commands(
    root: Path, out: Path, system: str = "cnn", options: Sequence[str] = ()
) -> tuple[list[str], ...]:
    """Words of each `eventhpe` command.

    Args:
        root: DHP19 as its authors unpack it.
        out: folder for prepared data, weights and scores.
        system: one of SYSTEMS.
        options: more words for `eventhpe train`.
    Raises:
        FormatError: no such system.
    """
    from eventhpe.errors import FormatError

    if system not in SYSTEMS:
        raise FormatError(f"--system must be one of {', '.join(SYSTEMS)}; got {system!r}.")
    name = "dhp19_cnn" if system == "cnn" else system
    run, table = out / system, str(out / f"{system}.md")
    weights = str(run / f"{name}.safetensors")
    if system == "cnn":
        data = str(out / "prepared")
        return (
            ["prepare", "dhp19", str(root), "-o", data],
            ["train", "cnn", "--data", f"dhp19:{data}", "-o", str(run), *options],
            ["evaluate", "dhp19", "--data", data, "--weights", weights, "-o", table],
        )
    data = str(out / "bodies")
    prepare = ["prepare", "dhp19", str(root), "-o", data, "--mode", "bodies"]
    train = ["train", system, "--data", f"dhp19:{data}", "-o", str(run)]
    if system == "flownet":  # without gray images there is nothing to score it by
        return prepare, [*train, "--objective", "contrast", *options]
    if system == "shapenet":
        score = ["evaluate", "dhp19", "--data", data, "--weights", weights, "--start", "true", "-o", table]
        return prepare, [*train, *options], score
    return prepare, [*train, *options], ["evaluate", "pose2d", "--data", data, "--weights", weights]


def walk(words: Sequence[str], main: Callable[[Sequence[str]], int]) -> int:
    """Run them until one fails.

    Args:
        words: [--system SYSTEM] ROOT [OUT [options of train]].
        main: runs one command.
    """
    from eventhpe.data.dhp19 import require_complete

    given = list(words)
    system = "cnn"
    if given[:1] == ["--system"] and len(given) > 1:
        system, given = given[1], given[2:]
    if not given or given[0].startswith("-"):
        return 1
    root = Path(given[0])
    out = Path(given[1]) if len(given) > 1 else root / "eventhpe"
    steps = commands(root, out, system, given[2:])
    require_complete(root)
    return next((code for step in steps if (code := main(step))), 0)
