"""Prophesee DAT: 8-byte records of contrast events or of triggers, with or without a header."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eventhpe.errors import FormatError
from eventhpe.events import kernels_evt2 as kernels
from eventhpe.events.blocks import BlockReader
from eventhpe.events.formats.evt import WordReader
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.prophesee_header import DAT_KINDS, Header, dat_kind, read_header, sensor_size

_LABEL = "Prophesee DAT"
_TRIGGER = 14
_LAYOUT_RECORDS = 1 << 16


def open_reader(path: Path, options: OpenOptions) -> BlockReader:
    """Reader of a DAT file; without a header, records of contrast events start at once.

    Raises:
        FormatError: the file cannot be read, its records are of another kind, or the sensor is not known.
    """
    header = read_header(path)
    kind = None
    if header.length:
        kind = dat_kind(path, header)
        if kind is None:
            raise FormatError(
                f"{path}: after a DAT header, a type byte ({_kinds()}) and the size byte 8 are expected; "
                f"found {_two_bytes(path, header.length)!r}. Say what the file is with format= (--format)."
            )
    start = header.length + (2 if header.length else 0)
    size = sensor_size(path, header, options.sensor)
    if kind == _TRIGGER:
        return WordReader(path, _LABEL, start, size, kernels.decode_dat_triggers, np.uint64, 1)
    first_version, remark = _is_first_version(path, header, start)
    return WordReader(
        path, _LABEL, start, size, kernels.decode_dat, np.uint64, 1, first_version, remark=remark
    )


def _kinds() -> str:
    return ", ".join(f"{number} {name}" for number, name in DAT_KINDS.items())


def _two_bytes(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(2)


def _is_first_version(path: Path, header: Header, start: int) -> tuple[bool, str]:
    """Whether addresses have the layout of version 1 (ATIS: 9 bits x, 8 bits y), and what to say about it.

    A file that tells no version is taken by its first records: version 2 sets bits above 17 as soon as an
    event is ON or lies below row 15.
    """
    version = header.fields.get("version", "")
    if version:
        return version in ("0", "1"), ""
    try:
        words = np.fromfile(path, np.uint32, 2 * _LAYOUT_RECORDS, offset=start)[1::2]
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error
    if len(words) == 0 or int(words.max()) >> 18:
        return False, ""
    return True, "no version told; addresses are taken in the layout of version 1, as they use 18 bits only"
