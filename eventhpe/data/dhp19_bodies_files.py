"""DHP19's recordings with fitted bodies: each camera of a movement as a recording of ours with labels.

    OUT/S1_1_1_cam2.h5    events of camera 2 between start and stop, filtered; group `labels`
    OUT/fits/S1.h5        the subject's fit (`dhp19_fits`)

Time 0 is the start, so row k of the markers stands at 10 k ms. Labels are the fitted body in the camera's
frame, `markers3d`, `markers2d` the Vicon markers themselves, NaN where missing, and `valid` the frames that
pass the fit's gates; `labels/people/0/attachment` tells where the markers sit on the body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from eventhpe.body.fit_markers import Attachment
from eventhpe.data.dhp19 import MOVEMENTS_PER_SESSION
from eventhpe.data.dhp19_cameras import CHANNEL_TO_CAMERA
from eventhpe.data.dhp19_fits import read_attachment
from eventhpe.errors import FormatError, MissingAssetError
from eventhpe.events.formats.hdf5 import open_hdf5

FRONT_CAMERAS = (2, 3)
"""Numbers of the two cameras in front, as in the published protocol."""

CAMERA_TO_CHANNEL = {camera: channel for channel, camera in CHANNEL_TO_CAMERA.items()}

_NAME = re.compile(r"S(\d+)_(\d+)_(\d+)_cam(\d)\.h5")


@dataclass(frozen=True, order=True)
class BodiesName:
    """Which recording a file holds: movement, and the number of the camera, 1..4."""

    subject: int
    session: int
    movement: int
    camera: int

    @classmethod
    def parse(cls, file_name: str) -> BodiesName | None:
        """From a file name such as S1_1_1_cam2.h5; None for any other."""
        match = _NAME.fullmatch(file_name)
        if match is None:
            return None
        s, e, m, c = (int(number) for number in match.groups())
        known = 1 <= s <= 17 and 1 <= e <= 5 and 1 <= m <= MOVEMENTS_PER_SESSION[e - 1] and 1 <= c <= 4
        return cls(s, e, m, c) if known else None

    @property
    def file_name(self) -> str:
        return f"S{self.subject}_{self.session}_{self.movement}_cam{self.camera}.h5"


def holds_bodies(folder: str | Path) -> bool:
    """Whether recordings with fitted bodies lie in a folder."""
    return any(BodiesName.parse(path.name) is not None for path in Path(folder).glob("*.h5"))


def find_bodies(folder: str | Path, subjects: tuple[int, ...] | None = None) -> list[Path]:
    """Recordings with fitted bodies in a folder, in order of subject, session, movement and camera.

    Args:
        subjects: of these only.
    Raises:
        MissingAssetError: there are none.
    """
    folder = Path(folder)
    names = sorted(
        name
        for path in (folder.glob("*.h5") if folder.is_dir() else ())
        if (name := BodiesName.parse(path.name)) is not None
    )
    if not names:
        raise MissingAssetError(
            f"{folder}: expected S1_1_1_cam2.h5 and the like; found none. "
            "`eventhpe prepare dhp19 ROOT -o OUT --mode bodies` makes them from DHP19's recordings."
        )
    chosen = [name for name in names if subjects is None or name.subject in subjects]
    if not chosen:
        asked, there = (
            ", ".join(f"S{s}" for s in sorted(set(numbers)))
            for numbers in (subjects or (), (name.subject for name in names))
        )
        raise MissingAssetError(f"{folder}: no recording of {asked}; there are those of {there}.")
    return [folder / name.file_name for name in chosen]


def read_body_attachment(path: str | Path) -> Attachment:
    """Where the subject's markers sit on the fitted body of a recording.

    Raises:
        FormatError: the recording has no fitted body.
    """
    path = Path(path)
    try:
        with open_hdf5(path) as file:
            return read_attachment(file["labels/people/0"])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise FormatError(
            f"{path}: no fitted body in this recording ({error}); `eventhpe prepare dhp19 --mode bodies` "
            "makes such files."
        ) from error
