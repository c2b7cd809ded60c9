"""The motions of a generator: clips of a folder, split by subject, and procedural movements beside them."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.amass import fit_path, retarget_amass
from eventhpe.body.motion_file import load_motion
from eventhpe.data.motion_split import MotionFile, classify
from eventhpe.data.motion_style import draw_movement_style
from eventhpe.data.motions import MotionDraw, draw_movement, file_checksum, load_clip
from eventhpe.errors import CalibrationError, FormatError, MissingAssetError, ShapeError

Array = NDArray[np.float64]
Split = Literal["train", "held_out", "all"]

_SPARE_S = 1.0  # so that a procedural movement does not always begin at its first frame


class MotionLibrary:
    """BVH clips (.bvh), AMASS files and motion files of this package (.npz) of a folder, searched in depth.

    Who performs is read from names (`motion_split.subject_of`). CMU subjects 14, 60, 86 and 94 are held out,
    and so is every BVH clip whose content is that of a benchmark-v1 clip, whatever it is called. Other npz
    files (AMASS's shapes) are passed over.

    Args:
        folder: where the clips lie; None for procedural movements only.
        split: "train" leaves out what is held out, "held_out" has nothing else. Procedural movements follow:
            training never draws a style of the reserved cell, "held_out" draws only from it.
        procedural_share: share of procedural movements when there are clips.
        exclude_subjects: names of further subjects to leave out, as in `subjects`.

    Attributes:
        files: the clips of the split, ordered by their path within the folder.
        split: as given.

    Raises:
        MissingAssetError: the folder does not exist or has no clip of this split.
        FormatError: an npz file that is none, a download cut short for instance.
    """

    def __init__(
        self,
        folder: str | Path | None,
        *,
        split: Split = "train",
        procedural_share: float = 0.3,
        exclude_subjects: Collection[str] = (),
    ) -> None:
        if split not in ("train", "held_out", "all"):
            raise ShapeError(f'MotionLibrary: split must be "train", "held_out" or "all"; got {split!r}.')
        if not 0 <= procedural_share <= 1:
            raise ShapeError(f"MotionLibrary: procedural_share must lie in [0, 1]; got {procedural_share}.")
        self.split: Split = split
        self._procedural_share = procedural_share
        self._folder = None if folder is None else Path(folder)
        self.files = () if self._folder is None else _list_files(self._folder, split, exclude_subjects)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the performers, sorted."""
        return tuple(sorted({file.subject for file in self.files}))

    def draw(
        self,
        rng: np.random.Generator,
        rest_joints: Array,
        betas: Array,
        duration_s: float,
        *,
        speed: float = 1.0,
        movement: str | None = None,
    ) -> MotionDraw:
        """A clip or a procedural movement.

        Args:
            rng: source of randomness.
            rest_joints: (24, 3) metres of the body that performs.
            betas: (10,) its shape.
            duration_s: length of the recording; procedural movements are made long enough for it.
            speed: speed at which the motion will be played (`MotionStyle.speed`).
            movement: this procedural movement, in a drawn style.
        Raises:
            FormatError: a clip is damaged; the message names the file.
            ShapeError: there is no such movement.
        """
        if movement is None and self.files and rng.random() >= self._procedural_share:
            return self.load(self.files[int(rng.integers(len(self.files)))], rest_joints, betas)
        held_out = {"train": False, "held_out": True, "all": None}[self.split]
        amplitude, tempo = draw_movement_style(rng, held_out, speed=speed)
        length_s = duration_s * speed + _SPARE_S
        return draw_movement(
            rng, length_s, rest_joints, betas, name=movement, amplitude=amplitude, tempo=tempo
        )

    def load(self, file: MotionFile, rest_joints: Array, betas: Array) -> MotionDraw:
        """A clip on a body with these rest joints (24, 3) m and betas (10,).

        Raises:
            FormatError: the file is damaged or holds less than two frames; the message names it.
        """
        try:
            draw = _load(file.path, rest_joints, betas)
        except zipfile.BadZipFile as error:
            raise FormatError(
                f"{file.path}: not an npz file, or damaged ({error}). Fetch it again."
            ) from None
        except (FormatError, ShapeError, CalibrationError) as error:
            message = str(error).removeprefix(f"{file.path.name}: ")
            raise FormatError(f"{file.path}: {message}") from None
        except OSError as error:
            raise FormatError(f"{file.path}: cannot be read ({error.strerror}).") from None
        if len(draw.params.transl) < 2:
            raise FormatError(f"{file.path}: one frame is no motion; at least 2 are needed. Remove the file.")
        return draw


def _list_files(folder: Path, split: Split, exclude_subjects: Collection[str]) -> tuple[MotionFile, ...]:
    paths = [p for p in folder.rglob("*") if p.suffix.lower() in (".bvh", ".npz") and p.is_file()]
    paths.sort(key=lambda p: p.relative_to(folder).as_posix())
    usable = [classify(p, folder) for p in paths if p.suffix.lower() == ".bvh" or _is_motion(p)]
    wanted = {"train": (False,), "held_out": (True,), "all": (False, True)}[split]
    files = tuple(f for f in usable if f.held_out in wanted and f.subject not in exclude_subjects)
    if not files:
        what = {"train": "training ", "held_out": "held-out (CMU 14, 60, 86, 94) ", "all": ""}[split]
        found = f"{len(usable)} other clips" if usable else "nothing else either"
        where = "there" if folder.is_dir() else "there; the folder does not exist"
        raise MissingAssetError(
            f"--motions {folder}: found no {what}motion clips (.bvh, AMASS .npz) {where} ({found}). "
            "See docs/motion.md for sources."
        )
    return files


def _is_motion(path: Path) -> bool:
    """Whether an npz holds a motion; reads its list of contents only."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"poses.npy", "trans.npy"} <= set(archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        raise FormatError(
            f"{path}: not an npz file, or damaged ({error}). Fetch it again or remove it."
        ) from None


def _load(path: Path, rest_joints: Array, betas: Array) -> MotionDraw:
    if path.suffix.lower() == ".bvh":
        return load_clip(path, rest_joints, betas)
    source = f"{path.stem} sha256:{file_checksum(path)}"
    with zipfile.ZipFile(path) as archive:
        ours = "schema.npy" in archive.namelist()
    if not ours:
        params, fps = retarget_amass(path, rest_joints, betas=betas)
        return MotionDraw(params, fps, source)
    clip = load_motion(path).to_world()
    step_us = np.diff(clip.t_us)
    if len(clip) < 2:
        raise FormatError("one frame is no motion; at least 2 are needed. Remove the file.")
    if np.ptp(step_us) > 0.02 * step_us.mean() + 1:
        raise FormatError(f"{path.name}: frames are not evenly spaced in time; resample the motion first.")
    params = replace(
        clip.params,
        betas=np.broadcast_to(betas, (len(clip), 10)),
        transl=clip.params.transl + clip.rest_pelvis - rest_joints[0],
        model="open",
        gender="neutral",
    )
    return MotionDraw(fit_path(params, rest_joints, step_s=1 / clip.framerate), clip.framerate, source)
