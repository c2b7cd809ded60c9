"""A mini data set in MMHPSD's formats: our people and movements, its camera, sequences and files.

`recordings/` keeps the recordings in our own format with all labels; `layout_a/` and `layout_b/` hold the two
published layouts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eventhpe.data.generator import Choice, Generator, GeneratorConfig
from eventhpe.data.mmhpsd_export import export_mmhpsd, sequence_marker
from eventhpe.data.mmhpsd_sequence import (
    MMHPSD_CAMERA,
    NUM_GROUPS,
    NUM_SUBJECTS,
    NUM_TIMES,
    SequenceSource,
    check_frame_step,
    sequence_name,
)
from eventhpe.data.scene_draws import look_at
from eventhpe.errors import FormatError
from eventhpe.geometry.camera import Camera

SUBJECT_ORDER = (3, 1, 4, 2, 5, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15)
"""Training and test subjects alternate, so that a few recordings already hold both splits."""

CAMERA_M = (0.0, 1.0, 3.2)
"""Where the camera stands, metres; people stand at the origin."""

MISSING_SHARE = 0.3
"""Share of sequences with a run of one to three frames without a pose."""

# Streams of random numbers beside those of the generator's scenes.
_CAMERA_DRAWS, _MISSING_DRAWS = 15, 16


def sequence_of(k: int) -> tuple[int, int, int]:
    """(subject, group, time) of recording k: all subjects first, then all groups, then all repetitions.

    Raises:
        FormatError: MMHPSD has 180 sequences, no more.
    """
    if not 0 <= k < NUM_SUBJECTS * NUM_GROUPS * NUM_TIMES:
        raise FormatError(
            f"--n: MMHPSD has {NUM_SUBJECTS * NUM_GROUPS * NUM_TIMES} sequences; {k + 1} were asked for."
        )
    rest, which = divmod(k, NUM_SUBJECTS)
    time, group = divmod(rest, NUM_GROUPS)
    return SUBJECT_ORDER[which], 1 + group, 1 + time


def marker_of(root: Path, sequence: tuple[int, int, int]) -> Path:
    """The file that is written last for a sequence: its presence says that both layouts are complete."""
    return sequence_marker(root / "layout_a", "A", sequence_name(*sequence))


def make_sequence(root: Path, generator: Generator, seed: int, k: int) -> Path:
    """Make recording k and write it in both layouts; what an interrupted call has left is completed.

    A subject has one place of the camera over all sequences. Body, clothes and movement are drawn anew for
    each, since `Choice` does not fix them: betas are constant within a sequence only.

    Returns:
        The recording in our own format, with all labels.
    Raises:
        FormatError: the generator's gray frames do not come at 15 per second.
    """
    config = generator.config
    check_frame_step(config.frame_step_us, "GeneratorConfig.frame_step_us")
    subject, group, time = sequence_of(k)
    path = root / "recordings" / f"{sequence_name(subject, group, time)}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        generator.make(path, seed=seed, index=k, choice=Choice(camera=draw_place(seed, subject)))
    missing = draw_missing(seed, (subject, group, time), config)
    source = SequenceSource(path, subject, group, time, missing)
    # Layout A last: `marker_of` lies there.
    export_mmhpsd(root / "layout_b", layout="B", sequences=[source])
    export_mmhpsd(root / "layout_a", layout="A", sequences=[source])
    return path


def draw_place(seed: int, subject: int) -> Camera:
    """`MMHPSD_CAMERA` near CAMERA_M, looking at a person's middle, level."""
    rng = np.random.default_rng([seed, _CAMERA_DRAWS, subject])
    eye = np.array(CAMERA_M) + rng.uniform(-1, 1, 3) * (0.15, 0.1, 0.15)
    target = np.array([0.0, 0.9, 0.0]) + rng.uniform(-1, 1, 3) * (0.05, 0.05, 0.0)
    return look_at(eye, target, MMHPSD_CAMERA)


def draw_missing(seed: int, sequence: tuple[int, int, int], config: GeneratorConfig) -> tuple[int, ...]:
    """Frames without a pose, as the authors' fit leaves some out."""
    rng = np.random.default_rng([seed, _MISSING_DRAWS, *sequence])
    if rng.random() >= MISSING_SHARE:
        return ()
    num_frames = int(config.duration_s * 1e6) // config.frame_step_us + 1
    first = int(rng.integers(num_frames))
    return tuple(range(first, min(first + int(rng.integers(1, 4)), num_frames)))
