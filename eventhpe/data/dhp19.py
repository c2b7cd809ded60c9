"""DHP19 (Calabrese et al., CVPRW 2019) as its authors unpack it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from eventhpe.errors import MissingAssetError

MOVEMENTS_PER_SESSION = (8, 6, 6, 6, 7)
"""Movement numbers restart in each of the five sessions; 33 per subject."""

TEST_SUBJECTS = (13, 14, 15, 16, 17)
"""The authors' split: S1-S12 train, S13-S17 test."""


@dataclass(frozen=True)
class Split:
    """Subjects of a split; `validation` is taken out of `train` by who needs one."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    channels: tuple[int, ...]


SPLITS = {
    "official": Split(tuple(range(1, 13)), (10, 11, 12), TEST_SUBJECTS, (3, 2)),
    "liftmono": Split(tuple(range(6, 18)), (), (1, 2, 3, 4, 5), (0, 1, 2, 3)),
}
"""Splits in use: the authors', and that of LiftMono-HPE (Scarpellini et al., 2021). Results under one say
nothing about the other. `channels` are camera numbers of the files: 3 and 2 are cameras 2 and 3, the two in
front. datasets/dhp19/splits.yaml says the same."""


@dataclass(frozen=True, order=True)
class DHP19Movement:
    """One recording: four cameras in one AEDAT 2.0 file, and the marker file that belongs to it.

    Attributes:
        subject: 1..17.
        session: 1..5.
        movement: 1..8, within the session.
        events: the .aedat file.
        labels: the Vicon .mat file, whether it is there or not.
    """

    subject: int
    session: int
    movement: int
    events: Path
    labels: Path

    @property
    def name(self) -> str:
        """Short name, as of the marker files: S1_1_1."""
        return f"S{self.subject}_{self.session}_{self.movement}"


def find_movements(root: str | Path) -> list[DHP19Movement]:
    """Recordings under DHP19's root folder, in order of subject, session and movement.

    Raises:
        MissingAssetError: there is no DHP19 tree in that folder.
    """
    root = Path(root)
    found = []
    for path in root.glob("DVS_movies/S*/session*/mov*.aedat"):
        match = re.fullmatch(
            r"S(\d+)/session(\d+)/mov(\d+)\.aedat", path.relative_to(root / "DVS_movies").as_posix()
        )
        if match:
            s, e, m = (int(number) for number in match.groups())
            if 1 <= s <= 17 and 1 <= e <= 5 and 1 <= m <= MOVEMENTS_PER_SESSION[e - 1]:
                found.append(DHP19Movement(s, e, m, path, root / "Vicon_data" / f"S{s}_{e}_{m}.mat"))
    if not found:
        raise MissingAssetError(
            f"{root}: expected DVS_movies/S*/session*/mov*.aedat as in DHP19; found none. "
            "The data set comes from its authors: see datasets/dhp19/README.md."
        )
    return sorted(found)


def require_labelled(root: str | Path) -> list[DHP19Movement]:
    """Recordings whose labels are there too, as training needs them.

    Raises:
        MissingAssetError: no recordings, no labels for any of them, or no projection matrices.
    """
    root = Path(root)
    movements = find_movements(root)
    labelled = [movement for movement in movements if movement.labels.is_file()]
    if not labelled:
        raise MissingAssetError(
            f"{root}: {len(movements)} recordings, but no label file such as "
            f"{movements[0].labels.relative_to(root)}. Unpack DHP19's Vicon_data beside DVS_movies."
        )
    absent = [
        name for name in ("P1", "P2", "P3", "P4") if not (root / "P_matrices" / f"{name}.npy").is_file()
    ]
    if absent:
        raise MissingAssetError(
            f"{root}: P_matrices/ lacks {', '.join(f'{name}.npy' for name in absent)}; "
            "without them labels cannot be placed in the images. They come with DHP19."
        )
    return labelled


def require_complete(root: str | Path) -> None:
    """Check that a folder has what training needs; see `require_labelled`."""
    require_labelled(root)
