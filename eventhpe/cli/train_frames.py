"""Options of `eventhpe train` for gray images and for frame-aligned supervision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventhpe.cli.train import Options
    from eventhpe.shapenet.frame_head import FrameHeadConfig
    from eventhpe.training.run import PseudoLabels

NARROW: Mapping[str, dict[str, Any]] = {
    "hemlets": {"width": 0.25},
    "volumetric": {"width": 0.25},
    "heatmap": {"channels": 64},
}
"""Frame heads are small unless --head-options says otherwise: they are left out after training."""


def frame_head(options: Options) -> FrameHeadConfig | None:
    """The head that the options ask for; None = none.

    Raises:
        FormatError: options of a frame head without one, or with the parity variant.
    """
    from eventhpe.cli.train_pose import head_options
    from eventhpe.errors import FormatError
    from eventhpe.shapenet.frame_head import FrameHeadConfig

    if options.frame_head == "none":
        refuse_frames(options)
        return None
    if options.variant == "parity":
        raise FormatError("--frame-head goes with --variant fixed; the parity variant is as published.")
    return FrameHeadConfig(
        options.frame_head, options.skeleton or "dhp19_15", options.frame_weight,
        NARROW.get(options.frame_head, {}) | head_options(options.head_options),
    )  # fmt: skip


def pseudo_labels(options: Options) -> PseudoLabels | None:
    """Folders of recordings and of joints found in them.

    Raises:
        FormatError: one without the other, or a skeleton, which the joints bring.
    """
    from eventhpe.errors import FormatError
    from eventhpe.training.run import PseudoLabels

    if options.frame_recordings is None and options.frame_poses is None:
        return None
    if options.frame_recordings is None or options.frame_poses is None:
        raise FormatError(
            "--frame-recordings and --frame-poses go together: recordings, and the joints found in them."
        )
    if options.skeleton is not None:
        raise FormatError("--skeleton goes without --frame-poses, which bring their own.")
    return PseudoLabels(options.frame_recordings, options.frame_poses, options.frame_confidence)


def refuse_frames(options: Options) -> None:
    """Options of a frame head without one are an error.

    Raises:
        FormatError: names them.
    """
    from eventhpe.errors import FormatError

    given = [n for n in ("frame_recordings", "frame_poses") if getattr(options, n) is not None]
    if options.frame_head != "none":
        given.insert(0, "frame_head")
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise FormatError(f"{names}: frame-aligned supervision is ShapeNet's, with --frame-head HEAD.")


def refuse_gray(options: Options) -> None:
    """Only heads for one person's crop read gray images.

    Raises:
        FormatError: another system is asked to.
    """
    from eventhpe.cli.train_pose import HEADS
    from eventhpe.errors import FormatError

    if options.input == "gray" and options.system not in HEADS:
        raise FormatError(
            f"--input gray goes with the heads ({', '.join(HEADS)}), not with {options.system}."
        )
