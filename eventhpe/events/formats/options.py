"""What a user may say about a file that does not tell everything itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TimeUnit = Literal["s", "ms", "us", "ns"]


@dataclass(frozen=True)
class OpenOptions:
    """Said by the user (`--format`, `--sensor`, `--time-unit`) or found by recognition.

    Attributes:
        format: short name of the format, as in `formats.sniff.FORMATS`.
        sensor: camera name or WIDTHxHEIGHT; None: from the file.
        time_unit: unit of the stored times, for formats that have no rule; None: by the format's rule.
    """

    format: str
    sensor: str | None = None
    time_unit: TimeUnit | None = None
