"""MMHPSD (Zou et al., ICCV 2021) in either of its two releases: sequences, splits, clips.

Layout A is the release of EventHPE, layout B the later one (SNN tracker, EvHuman). Both are recognised by
their folders. Layout A is read through `safe_pickle`, so nothing that a file names is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from eventhpe.data.mmhpsd_read_a import FOLDERS_A, SequenceA, names_a
from eventhpe.data.mmhpsd_read_b import FOLDERS_B, SequenceB, names_b
from eventhpe.data.mmhpsd_sequence import NUM_SUBJECTS, TEST_SUBJECTS
from eventhpe.data.mmhpsd_stored import BodySource, StoredSequence
from eventhpe.errors import FormatError, MissingAssetError, ShapeError

Split = Literal["train", "val", "test", "all"]

VAL_SUBJECTS = (4, 5)
"""Training subjects that are kept aside for validation; the authors have none."""

FLOW_TEST_SUBJECTS = (2,)
"""Of the authors' FlowNet; it has seen two of the three test subjects of ShapeNet."""

OWN_SET = "those of the OPEN body of eventhpe"
"""README.txt of a set that this package exported says so."""


def _others(*without: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(s for s in range(1, NUM_SUBJECTS + 1) if not any(s in group for group in without))


SPLITS: Mapping[str, Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "recommended": {
            "train": _others(TEST_SUBJECTS, VAL_SUBJECTS), "val": VAL_SUBJECTS, "test": TEST_SUBJECTS,
        },
        "eventhpe": {"train": _others(TEST_SUBJECTS), "val": (), "test": TEST_SUBJECTS},
        "eventhpe-flow": {"train": _others(FLOW_TEST_SUBJECTS), "val": (), "test": FLOW_TEST_SUBJECTS},
    }
)  # fmt: skip
"""Name -> split -> subjects, as in datasets/mmhpsd/splits.yaml. "recommended" serves both networks: the
authors' test subjects, with two training subjects for validation."""


@dataclass(frozen=True, slots=True)
class ClipPlace:
    """T steps of a sequence that miss nothing.

    Attributes:
        sequence: where it lies.
        start: number of its first gray frame.
        num_steps: T.
        step_frames: gray intervals of one step.
    """

    sequence: StoredSequence
    start: int
    num_steps: int
    step_frames: int

    @property
    def pose_frames(self) -> list[int]:
        """T + 1 frames: the start pose and the end of every step."""
        return [self.start + k * self.step_frames for k in range(self.num_steps + 1)]


class MMHPSD:
    """A folder with MMHPSD, or with a set in its format.

    Attributes:
        root: the folder.
        layout: "A" or "B".
        body: whose shape coefficients the set holds: "smpl", male, or "open" for sets that this package made.
        names: sequences that are there, sorted.

    Raises:
        MissingAssetError: there is no such folder, or no sequence in it.
        FormatError: both layouts are in it.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.layout = recognise_layout(self.root)
        self.body = read_body_source(self.root)
        self.names = names_a(self.root) if self.layout == "A" else names_b(self.root)
        if not self.names:
            raise MissingAssetError(
                f"{self.root}: has the folders of MMHPSD's layout {self.layout}, but no sequence in them; "
                "expected such as subject01_group1_time1."
            )
        self._opened: dict[str, StoredSequence] = {}

    def sequence(self, name: str) -> StoredSequence:
        """One sequence.

        Raises:
            MissingAssetError: it is not there.
        """
        if name not in self.names:
            raise MissingAssetError(f"{self.root}: no sequence {name}; {len(self.names)} others are there.")
        if name not in self._opened:
            kind: type[StoredSequence] = SequenceA if self.layout == "A" else SequenceB
            self._opened[name] = kind(self.root, name, self.body)
        return self._opened[name]

    def sequences(self, split: Split = "all", *, splits: str = "recommended") -> list[StoredSequence]:
        """Sequences of a split, in order of their names.

        Args:
            split: "train", "val", "test", or "all".
            splits: which of SPLITS.
        Raises:
            FormatError: there is no such split.
            MissingAssetError: none of its subjects is there.
        """
        if split not in get_args(Split) or splits not in SPLITS:
            raise FormatError(
                f"splits of MMHPSD are {', '.join(get_args(Split))} of {', '.join(SPLITS)}; got {split!r} of "
                f"{splits!r}."
            )
        subjects = None if split == "all" else SPLITS[splits][split]
        chosen = [name for name in self.names if subjects is None or subject_of(name) in subjects]
        if not chosen:
            wanted = ", ".join(map(str, subjects or ())) or "none"
            there = ", ".join(map(str, sorted({subject_of(name) for name in self.names})))
            raise MissingAssetError(
                f"{self.root}: no sequence of the {splits} {split} split (subjects {wanted}); "
                f"subjects {there} are there."
            )
        return [self.sequence(name) for name in chosen]

    def clips(
        self,
        split: Split = "all",
        *,
        num_steps: int = 8,
        step_frames: int = 2,
        disjoint: bool = False,
        single_events: bool = False,
        splits: str = "recommended",
    ) -> list[ClipPlace]:
        """Clips that miss neither pose nor event frame; the defaults are EventHPE's.

        Args:
            num_steps: T.
            step_frames: gray intervals of one step (2 = 133 ms).
            single_events: ask for the single events of every interval instead of its event frame.
            disjoint: clips that share no step (the SNN tracker's protocol); otherwise one at every frame.
        Raises:
            ShapeError: a number below 1.
            FormatError, MissingAssetError: see `sequences`.
        """
        if num_steps < 1 or step_frames < 1:
            raise ShapeError(f"clips need num_steps and step_frames >= 1; got {num_steps}, {step_frames}.")
        length, places = num_steps * step_frames, []
        for sequence in self.sequences(split, splits=splits):
            free = 0
            for start in sequence.clip_starts(length, single_events=single_events):
                if not disjoint or start >= free:
                    places.append(ClipPlace(sequence, start, num_steps, step_frames))
                    free = start + length
        return places


def subject_of(name: str) -> int:
    """Number of the subject in the name of a sequence."""
    return int(name[len("subject") :][:2])


def recognise_layout(root: Path) -> Literal["A", "B"]:
    """Which release a folder holds.

    Raises:
        MissingAssetError: neither. FormatError: both.
    """
    there = {
        layout: any((root / folder).is_dir() for folder in folders)
        for layout, folders in (("A", FOLDERS_A), ("B", FOLDERS_B))
    }
    if all(there.values()):
        raise FormatError(f"{root}: holds both layouts of MMHPSD; unpack each into a folder of its own.")
    if not any(there.values()):
        inner = [p for p in (root / "layout_a", root / "layout_b") if p.is_dir()]
        hint = f" Give one of its folders: {', '.join(map(str, inner))}." if inner else ""
        raise MissingAssetError(
            f"{root}: expected the folders of MMHPSD, {' and '.join(FOLDERS_A)} (EventHPE's release) or "
            f"{FOLDERS_B[0]} (the later one); found neither.{hint} datasets/mmhpsd/README.md says where the "
            "data come from."
        )
    return "A" if there["A"] else "B"


def read_body_source(root: Path) -> BodySource:
    """Whose shape coefficients a set holds; README.txt of the sets that this package makes tells."""
    try:
        with (root / "README.txt").open("rb") as file:
            text = file.read(1 << 16).decode("utf-8", "replace")
    except OSError:
        return BodySource()
    return BodySource("open", "neutral") if OWN_SET in " ".join(text.split()) else BodySource()
