"""Reader for Biovision Hierarchy (.bvh) motion files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError

Array = NDArray[np.float64]

_MAX_BYTES = 1 << 30
_MAX_JOINTS = 4096
_CHANNELS = {f"{axis}{kind}": (kind, i) for i, axis in enumerate("XYZ") for kind in ("position", "rotation")}


@dataclass(frozen=True)
class BvhClip:
    """A motion clip: a skeleton and T frames of channel values.

    Attributes:
        joints: J names, parents before children.
        parents: (J,) index of each joint's parent, -1 for the root.
        offsets: (J, 3) metres, rest position relative to the parent.
        end_sites: offset in metres (3,) of the end site, by the name of the joint that has one.
        channels: per joint the channel names in file order, e.g. ("Zrotation", "Yrotation", "Xrotation").
        local_rotations: (T, J, 3, 3), joint to parent; they multiply in channel order, R = R1 R2 R3.
        local_positions: (T, J, 3) metres relative to the parent: offset, or position channels if present.
        frame_time_s: seconds between frames.

    Convention:
        A joint sits at the start of its bone. Position channels replace the joint's offset, not add to it.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Array
    end_sites: dict[str, Array]
    channels: tuple[tuple[str, ...], ...]
    local_rotations: Array
    local_positions: Array
    frame_time_s: float

    def __post_init__(self) -> None:
        for value in (self.offsets, self.local_rotations, self.local_positions, *self.end_sites.values()):
            value.setflags(write=False)

    def __len__(self) -> int:
        return len(self.local_rotations)

    @property
    def t_us(self) -> NDArray[np.int64]:
        """(T,) frame times in microseconds from the first frame."""
        return np.rint(np.arange(len(self)) * (self.frame_time_s * 1e6)).astype(np.int64)

    def index(self, joint: str) -> int:
        """Position of a joint.

        Raises:
            FormatError: the clip has no joint of that name.
        """
        if joint not in self.joints:
            raise FormatError(f"the motion clip has no joint {joint!r}; it has: {', '.join(self.joints)}.")
        return self.joints.index(joint)

    def world_rotations(self) -> Array:
        """(T, J, 3, 3) rotations from each joint's rest frame to the world."""
        world = np.array(self.local_rotations)
        for j, parent in enumerate(self.parents):
            if parent >= 0:
                world[:, j] = world[:, parent] @ self.local_rotations[:, j]
        return world

    def world_positions(self) -> Array:
        """(T, J, 3) joint positions in metres."""
        rotations = self.world_rotations()
        world = np.array(self.local_positions)
        for j, parent in enumerate(self.parents):
            if parent >= 0:
                step = np.einsum("tij,tj->ti", rotations[:, parent], self.local_positions[:, j])
                world[:, j] = world[:, parent] + step
        return world


def read_bvh(path: str | Path, *, unit_m: float = 0.01) -> BvhClip:
    """Read a BVH file.

    Args:
        path: the file.
        unit_m: length of the file's unit in metres; BVH does not say it. 0.01 = centimetres, the usual one.
    Raises:
        FormatError: the file is not BVH, is damaged or cut short, or holds no frames.
            The message names the line.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise FormatError(
            f"{path.name}: {size:,} bytes; motion clips over {_MAX_BYTES:,} bytes are not read. Cut it."
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path.name}: not a text file, so not BVH (byte {error.start:,} is not UTF-8)."
        ) from None
    parser = _Hierarchy(path.name)
    motion_line = parser.parse(lines)
    values, frame_time_s = _read_motion(path.name, lines, motion_line, sum(map(len, parser.channels)))
    rotations, positions = _apply_channels(parser, values)
    return BvhClip(
        joints=tuple(parser.joints),
        parents=tuple(parser.parents),
        offsets=np.array(parser.offsets) * unit_m,
        end_sites={name: offset * unit_m for name, offset in parser.end_sites.items()},
        channels=tuple(parser.channels),
        local_rotations=rotations,
        local_positions=positions * unit_m,
        frame_time_s=frame_time_s,
    )


class _Hierarchy:
    """Parses the part from HIERARCHY to MOTION."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.joints: list[str] = []
        self.parents: list[int] = []
        self.offsets: list[Array] = []
        self.channels: list[tuple[str, ...]] = []
        self.end_sites: dict[str, Array] = {}
        self.line = 0

    def fail(self, message: str) -> FormatError:
        return FormatError(f"{self.name}: line {self.line}: {message}")

    def parse(self, lines: list[str]) -> int:
        """Fill the lists; returns the index of the line after MOTION."""
        statements = self._statements(lines)
        first = next(statements, None)
        if first is None:
            raise FormatError(
                f"{self.name}: the file is empty; expected BVH text that starts with HIERARCHY."
            )
        if first != "HIERARCHY":
            raise self.fail(f"expected HIERARCHY, found {first[:40]!r}; this is not a BVH file.")
        stack: list[int | str] = []  # joint indices, or "end" inside an end site
        opens: int | str | None = None
        for text in statements:
            words = text.split()
            key = words[0].upper()
            if opens is not None and text != "{":
                raise self.fail(f"expected '{{' after a joint's name, found {text[:40]!r}.")
            if text == "{":
                if opens is None:
                    raise self.fail("'{' without ROOT, JOINT or End Site before it.")
                stack.append(opens)
                opens = None
            elif text == "}":
                if not stack:
                    raise self.fail("'}' closes nothing.")
                self._close(stack.pop())
            elif key == "MOTION":
                if stack or not self.joints:
                    raise self.fail("MOTION before the hierarchy is complete; a '}' is missing.")
                return self.line
            elif key in ("ROOT", "JOINT"):
                opens = self._open(key, text[len(key) :].strip(), stack)
            elif key == "END":
                if not stack or not isinstance(stack[-1], int):
                    raise self.fail("End Site outside a joint.")
                opens = "end"
            elif key == "OFFSET":
                self._offset(words[1:], stack)
            elif key == "CHANNELS":
                self._channels(words[1:], stack)
            else:
                raise self.fail(f"unknown keyword {words[0][:40]!r} in the hierarchy.")
        raise self.fail("the file ends before MOTION; it is cut short.")

    def _statements(self, lines: list[str]) -> Iterator[str]:
        for number, raw in enumerate(lines, 1):
            self.line = number
            for part in raw.replace("{", "\n{\n").replace("}", "\n}\n").split("\n"):
                if part.strip():
                    yield part.strip()

    def _open(self, key: str, name: str, stack: list[int | str]) -> int:
        if (key == "ROOT") != (not stack) or (stack and stack[-1] == "end"):
            raise self.fail(f"{key} {name!r} stands at the wrong depth.")
        if key == "ROOT" and self.joints:
            raise self.fail("a second ROOT; only one person per file is supported.")
        if not name or name in self.joints:
            raise self.fail(f"joint name {name!r} is empty or used twice.")
        if len(self.joints) >= _MAX_JOINTS:
            raise self.fail(f"more than {_MAX_JOINTS} joints.")
        parent = stack[-1] if stack else -1
        assert isinstance(parent, int)
        self.joints.append(name)
        self.parents.append(parent)
        self.offsets.append(np.full(3, np.nan))
        self.channels.append(())
        return len(self.joints) - 1

    def _close(self, item: int | str) -> None:
        if isinstance(item, int) and np.isnan(self.offsets[item]).any():
            raise self.fail(f"joint {self.joints[item]!r} has no OFFSET.")

    def _offset(self, words: list[str], stack: list[int | str]) -> None:
        if not stack:
            raise self.fail("OFFSET outside a joint.")
        try:
            offset = np.array([float(w) for w in words])
        except ValueError:
            offset = np.empty(0)
        if offset.shape != (3,) or not np.isfinite(offset).all():
            raise self.fail(f"OFFSET needs three finite numbers, found {' '.join(words)[:60]!r}.")
        item = stack[-1]
        if isinstance(item, int):
            self.offsets[item] = offset
        else:
            parent = stack[-2]
            assert isinstance(parent, int)
            self.end_sites[self.joints[parent]] = offset

    def _channels(self, words: list[str], stack: list[int | str]) -> None:
        if not stack or not isinstance(stack[-1], int):
            raise self.fail("CHANNELS outside a joint.")
        names = tuple(w[:1].upper() + w[1:].lower() for w in words[1:])
        if not words or not words[0].isdigit() or int(words[0]) != len(names):
            raise self.fail(f"CHANNELS must be a count and as many names, found {' '.join(words)[:60]!r}.")
        bad = [n for n in names if n not in _CHANNELS]
        if bad or len(set(names)) != len(names):
            raise self.fail(f"unknown or repeated channel in {names}; known: {', '.join(_CHANNELS)}.")
        self.channels[stack[-1]] = names


def _read_motion(name: str, lines: list[str], start: int, num_channels: int) -> tuple[Array, float]:
    """(T, C) channel values and the frame time from the lines after MOTION."""
    rows = [(i, text) for i, text in enumerate(lines[start:], start + 1) if text.strip()]
    header: list[float] = []
    for key, (number, text) in zip(
        ("Frames:", "Frame Time:"), [*rows[:2], (len(lines), ""), (len(lines), "")], strict=False
    ):
        value = text.strip()[len(key) :]
        if not text.strip().lower().startswith(key.lower()):
            raise FormatError(f"{name}: line {number}: expected {key!r}, found {text.strip()[:40]!r}.")
        try:
            header.append(float(value))
        except ValueError:
            raise FormatError(
                f"{name}: line {number}: {key} is not a number: {value.strip()[:40]!r}."
            ) from None
    frames, frame_time = header
    body = rows[2:]
    if not frames >= 1 or frames != int(frames):
        raise FormatError(
            f"{name}: line {rows[0][0]}: Frames must be a whole number >= 1; found {rows[0][1].strip()!r}."
        )
    if not 0 < frame_time < 60:
        raise FormatError(
            f"{name}: line {rows[1][0]}: Frame Time must be seconds in (0, 60); found {frame_time}."
        )
    if len(body) != int(frames):
        raise FormatError(
            f"{name}: Frames says {int(frames):,} but {len(body):,} lines of values follow. "
            "The file is cut short or was edited; correct line "
            f"{rows[0][0]} or fetch it again."
        )
    values = np.empty((len(body), num_channels))
    for row, (number, text) in zip(values, body, strict=True):
        words = text.split()
        if len(words) != num_channels:
            raise FormatError(
                f"{name}: line {number}: expected {num_channels} values, one per channel; found {len(words)}."
            )
        try:
            row[:] = [float(w) for w in words]
        except ValueError:
            raise FormatError(f"{name}: line {number}: a value is not a number.") from None
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise FormatError(f"{name}: line {body[int(np.argmin(finite))][0]}: a value is not finite.")
    return values, frame_time


def _apply_channels(parser: _Hierarchy, values: Array) -> tuple[Array, Array]:
    """Local rotations (T, J, 3, 3) and local positions (T, J, 3) in file units."""
    T, J = len(values), len(parser.joints)
    rotations = np.broadcast_to(np.eye(3), (T, J, 3, 3)).copy()
    positions = np.broadcast_to(np.array(parser.offsets), (T, J, 3)).copy()
    column = 0
    for j, names in enumerate(parser.channels):
        for channel in names:
            kind, axis = _CHANNELS[channel]
            if kind == "position":
                positions[:, j, axis] = values[:, column]
            else:
                rotations[:, j] = rotations[:, j] @ _axis_rotation(axis, np.radians(values[:, column]))
            column += 1
    return rotations, positions


def _axis_rotation(axis: int, angle: Array) -> Array:
    """(T, 3, 3) right-handed rotations about x, y or z."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    out = np.zeros((len(angle), 3, 3))
    out[:, axis, axis] = 1.0
    out[:, a, a] = out[:, b, b] = np.cos(angle)
    out[:, b, a] = np.sin(angle)
    out[:, a, b] = -out[:, b, a]
    return out
