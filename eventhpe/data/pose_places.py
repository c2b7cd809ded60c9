"""Where labelled poses stand in a folder of recordings, and drawing one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from eventhpe.data.labels import Labels, num_people, read_labels
from eventhpe.data.pose_labels import Joints, in_image, labelled_joints
from eventhpe.data.synthetic import list_recordings
from eventhpe.errors import FormatError
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.geometry.skeleton import SMPL_SKELETON, Skeleton


def labelled_paths(folder: str | Path | Sequence[Path]) -> list[Path]:
    """Recordings of a folder, of its subfolder `recordings` (where presets that write a data set keep ours),
    or those that were chosen already.

    Raises:
        MissingAssetError: there are none.
    """
    if not isinstance(folder, str | Path):
        return list(folder)
    inner = Path(folder) / "recordings"
    if inner.is_dir() and not any(Path(folder).glob("*.h5")):
        return list_recordings(inner)
    return list_recordings(folder)


@dataclass(frozen=True, eq=False)
class Person:
    """One labelled person of a recording.

    Attributes:
        labels: as they are stored.
        joints: (K, J) of the skeleton.
        body_known: (K,) bool, the labels' body counts.
    """

    labels: Labels
    joints: Joints
    body_known: NDArray[np.bool_]


class LabelledRecordings:
    """Recordings with people, opened on first use in each process.

    Args:
        paths: the recordings.
        skeleton: of the joints.
        window_us: length of the window that ends at a pose; it must lie within the recording.
        min_inside: share of a person's joints that must lie in the image for a pose to be drawn.
        gray: poses at the times of gray images only.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        skeleton: Skeleton,
        *,
        window_us: int,
        min_inside: float,
        gray: bool = False,
    ) -> None:
        self.paths = list(paths)
        self._skeleton, self._window_us, self._min_inside = skeleton, window_us, min_inside
        self._gray = gray
        self._open: dict[Path, tuple[Recording, list[Person]]] = {}
        self._places: dict[Path, NDArray[np.int64]] = {}

    def __getitem__(self, path: Path) -> tuple[Recording, list[Person]]:
        if path not in self._open:
            people = [self._person(path, i) for i in range(num_people(path))]
            self._open[path] = (open_recording(path), people)
        return self._open[path]

    def places(self, path: Path) -> NDArray[np.int64]:
        """(N, 2) person and label of the poses that can be drawn from a recording."""
        if path not in self._places:
            recording, people = self[path]
            found = [
                np.stack(np.broadcast_arrays(i, np.flatnonzero(self._usable(person, recording))), -1)
                for i, person in enumerate(people)
            ]
            self._places[path] = np.concatenate(found).astype(np.int64)
        return self._places[path]

    def draw(self, rng: np.random.Generator) -> tuple[Path, int, int]:
        """A recording, a person and a label, recordings equally often.

        Raises:
            FormatError: no recording holds a usable pose.
        """
        path = self.paths[int(rng.integers(len(self.paths)))]
        places = self.places(path)
        if not len(places):
            order = (self.paths[k] for k in rng.permutation(len(self.paths)))
            path = next((p for p in order if len(self.places(p))), path)
            places = self.places(path)
        if not len(places):
            raise FormatError(
                f"{path.parent}: none of {len(self.paths)} recordings has a pose at the end of a window of "
                f"{self._window_us / 1000:g} ms with {100 * self._min_inside:g} % of its "
                f"{len(self._skeleton.joints)} joints in the image and, if they come from it, a valid body"
                + (", at the time of a gray image." if self._gray else ".")
            )
        person, k = places[int(rng.integers(len(places)))]
        return path, int(person), int(k)

    def close(self) -> None:
        """Close the recordings; they are opened again when a sample needs them."""
        for recording, _ in self._open.values():
            recording.close()
        self._open.clear()

    def _person(self, path: Path, number: int) -> Person:
        labels = read_labels(path, number)
        try:
            joints = labelled_joints(labels, self._skeleton)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from None
        known = np.ones(len(labels.t_us), bool) if labels.valid is None else labels.valid
        return Person(labels, joints, known)

    def _usable(self, person: Person, recording: Recording) -> NDArray[np.bool_]:
        labels = person.labels
        inside = in_image(person.joints.uv, labels.camera.size).mean(-1)
        usable = (labels.t_us >= self._window_us) & (inside >= self._min_inside) & (inside > 0)
        if self._gray:
            usable &= np.isin(labels.t_us, [] if recording.frames is None else recording.frames.t_us)
        # Markers are measured, joints come from the body: without a valid one they mean nothing.
        return usable & person.body_known if self._skeleton.name == SMPL_SKELETON.name else usable


class LabelledDataset(Dataset[Any]):
    """What data sets over labelled recordings share: recordings opened on first use in each process.

    Args:
        paths: labelled recordings.
        skeleton: of the joints.
        window_us, min_inside: see `LabelledRecordings`.
        length: samples in one pass.
        seed: of the draws.
        gray: see `LabelledRecordings`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        skeleton: Skeleton,
        *,
        window_us: int,
        min_inside: float,
        length: int,
        seed: int,
        gray: bool = False,
    ) -> None:
        self.skeleton, self.length, self.seed = skeleton, length, seed
        self.offset = 0
        """Added to every index, to go on where an earlier run stopped."""
        self._recordings = LabelledRecordings(
            paths, skeleton, window_us=window_us, min_inside=min_inside, gray=gray
        )

    @property
    def paths(self) -> list[Path]:
        """The recordings."""
        return self._recordings.paths

    def close(self) -> None:
        """Close the recordings; they are opened again when a sample needs them."""
        self._recordings.close()

    def __len__(self) -> int:
        return self.length
