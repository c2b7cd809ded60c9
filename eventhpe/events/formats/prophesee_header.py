"""The text header of Prophesee RAW and DAT files: lines `% key value`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from eventhpe.errors import FormatError
from eventhpe.events.formats.sensors import sensor_by_name

_LONGEST_LINE = 4096
_LONGEST_HEADER = 1 << 20
_LARGEST = 1 << 14

_STREAMS = {"EVT2": "evt2", "EVT21": "evt21", "EVT3": "evt3", "EVT4": "evt4"}
_VERSIONS = {"2.0": "evt2", "2.1": "evt21", "3.0": "evt3", "4.0": "evt4"}
#: Kinds of DAT records, by their type byte: contrast events as ATIS and later cameras write them, triggers.
DAT_KINDS = {0: "Event2D", 12: "CD", 14: "trigger"}
_DAT_RECORD = 8

_VGA, _HD, _GENX320 = (480, 640), (720, 1280), (320, 320)
# Old headers name only the board. Ids and what these boards record, as the vendor's own reader takes them.
_BOARDS: dict[int, tuple[tuple[int, int], str]] = {
    **dict.fromkeys((0x15, 0x17, 0x19, 0x1C, 0x1D, 0x21, 0x22, 0x23, 0x29), (_VGA, "evt2")),
    **dict.fromkeys((0x97, 0x99, 0xA1, 0xA2), (_VGA, "evt2")),
    **dict.fromkeys((0x1A, 0x9A, 0x1F, 0x27), (_HD, "evt2")),
    0x28: (_VGA, "evt3"),
    **dict.fromkeys((0x1E, 0x20, 0x2E, 0x30, 0x31, 0x32, 0x3A, 0x42), (_HD, "evt3")),
    **dict.fromkeys((0x3B, 0x40), (_GENX320, "evt3")),
}
_LEGACY_BOARDS = range(1, 55)


@dataclass(frozen=True)
class Header:
    """Where data start, and the fields: key in lower case -> value; empty for a file without a header."""

    length: int
    fields: dict[str, str]

    @property
    def stream(self) -> str:
        """First word of `format`: "EVT3", "HISTO3D" ...; "" if not told."""
        return self.fields.get("format", "").split(";")[0].strip().upper().replace(".", "")

    @property
    def options(self) -> dict[str, str]:
        """What follows in `format`: height, width, endianness ..."""
        parts = (part.partition("=") for part in self.fields.get("format", "").split(";")[1:])
        return {key.strip().lower(): value.strip() for key, _, value in parts}

    @property
    def board(self) -> int:
        """`system_ID`, 0 if it is not told or the board is another maker's."""
        keys = ("integrator_name", "camera_integrator_name", "plugin_integrator_name")
        makers = [self.fields[key] for key in keys if key in self.fields]
        if any(maker.lower() != "prophesee" for maker in makers):
            return 0
        number = self.fields.get("system_id", "")
        return int(number) if re.fullmatch(r"[0-9]{1,9}", number) else 0


def read_header(path: Path) -> Header:
    """Read the header, which ends after `% end`, or before the first bytes that are no such line of text.

    Raises:
        FormatError: the file cannot be read.
    """
    fields: dict[str, str] = {}
    length = 0
    try:
        with path.open("rb") as file:
            while length < _LONGEST_HEADER:
                line = file.readline(_LONGEST_LINE)
                text = _text(line)
                if text is None:
                    break
                length += len(line)
                key, _, value = text.partition(" ")
                if key == "end" and not value:
                    break
                fields[key.lower()] = value.strip()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error
    return Header(length, fields)


def _text(line: bytes) -> str | None:
    """What a header line says, None for data: these may begin with `% ` too, but hold control characters."""
    if not line.startswith(b"% ") or not line.endswith(b"\n"):
        return None
    try:
        text = line[2:-1].decode("utf-8").rstrip("\r")
    except UnicodeDecodeError:
        return None
    return text.strip() if text.replace("\t", " ").isprintable() else None


def dat_kind(path: Path, header: Header) -> int | None:
    """Type byte of a DAT file, which lies after the header before the size byte 8; None for other files."""
    try:
        with path.open("rb") as file:
            file.seek(header.length)
            kind = file.read(2)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error
    return kind[0] if len(kind) == 2 and kind[1] == _DAT_RECORD and kind[0] in DAT_KINDS else None


def format_of(path: Path) -> str:
    """Which format a file that starts with `% ` has: "evt2", "evt21", "evt3", "evt4" or "dat".

    Raises:
        FormatError: another kind of stream (frames, histograms), or a header that does not tell.
    """
    header = read_header(path)
    if header.stream:
        name = _STREAMS.get(header.stream)
        if name is None:
            raise FormatError(
                f"{path}: holds a {header.stream!r} stream; of Prophesee streams, {', '.join(_STREAMS)} are "
                "read."
            )
        return name
    version = header.fields.get("evt", "")
    if version in _VERSIONS:
        return _VERSIONS[version]
    if version:
        raise FormatError(f"{path}: EVT version {version!r} is not known; {', '.join(_VERSIONS)} are read.")
    if dat_kind(path, header) is not None:
        return "dat"
    if header.board in _BOARDS:
        return _BOARDS[header.board][1]
    kinds = ", ".join(map(str, DAT_KINDS))
    raise FormatError(
        f"{path}: starts like a Prophesee file, but says neither `format` nor `evt`, and no DAT records "
        f"follow (type byte {kinds}, then size byte {_DAT_RECORD}). Say what it is "
        "with format= (--format): evt2, evt21, evt3 or evt4."
    )


def sensor_size(path: Path, header: Header, sensor: str | None) -> tuple[int, int] | None:
    """(H, W): as the user says, else by `format`, `geometry`, `Width`/`Height`, or the board; else None.

    Raises:
        FormatError: unknown sensor name, or a size that no sensor has.
    """
    if sensor is not None:
        return sensor_by_name(sensor).size
    geometry = header.fields.get("geometry", "").lower().partition("x")
    for height, width in (
        (header.options.get("height"), header.options.get("width")),
        (geometry[2], geometry[0]),
        (header.fields.get("height"), header.fields.get("width")),
    ):
        if height and width:
            if not (_is_size(height) and _is_size(width)):
                raise FormatError(
                    f"{path}: the header gives the sensor size {width!r} x {height!r}; expected numbers from "
                    f"1 to {_LARGEST}. Say it with sensor= (--sensor WIDTHxHEIGHT)."
                )
            return int(height), int(width)
    return _BOARDS[header.board][0] if header.board in _BOARDS else None


def _is_size(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text.strip()) is not None and 0 < int(text) <= _LARGEST


def is_legacy_order(header: Header) -> bool | None:
    """Whether the upper half of an EVT2.1 word comes first; None if nothing in the header tells."""
    told = header.options.get("endianness") or header.fields.get("endianness")
    if told:
        return told.lower() == "legacy"
    return header.board in _LEGACY_BOARDS if header.fields else None
