"""Catalogue of the published systems this package is about: strings only, so listing them loads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["available", "planned"]


@dataclass(frozen=True)
class System:
    """One published system and where it lives here.

    Attributes:
        name: short name, as written in papers.
        task: what goes in and what comes out.
        paper: authors, title, venue.
        status: "available" in this version, or "planned".
        code: modules that hold it.
        recipes: names for `eventhpe train NAME`; empty while planned.
        docs: page under docs/.
    """

    name: str
    task: str
    paper: str
    status: Status
    code: tuple[str, ...]
    recipes: tuple[str, ...] = ()
    docs: str = "index.md"


SYSTEMS: tuple[System, ...] = (
    System(
        name="EventHPE",
        task="events to body pose and shape over time, through optical flow",
        paper="Zou et al., EventHPE: Event-based 3D Human Pose and Shape Estimation, ICCV 2021",
        status="available",
        code=("eventhpe.flownet", "eventhpe.shapenet"),
        recipes=("flownet", "shapenet"),
        docs="systems/eventhpe.md",
    ),
    System(
        name="DHP19 CNN",
        task="one camera's event frame to 2D joints, two cameras' joints to 3D; the baseline of DHP19",
        paper="Calabrese et al., DHP19: Dynamic Vision Sensor 3D Human Pose Dataset, CVPR Workshops 2019",
        status="available",
        code=("eventhpe.shapenet.heads.dhp19_cnn", "eventhpe.data.dhp19", "eventhpe.evaluation.dhp19"),
        recipes=("cnn",),
        docs="systems/dhp19_cnn.md",
    ),
    System(
        name="HEMlets",
        task="one person's crop to 3D joints, by part-centric heatmap triplets",
        paper=(
            "Zhou et al., "
            "HEMlets Pose: Learning Part-Centric Heatmap Triplets for Accurate 3D Human Pose Estimation, "
            "ICCV 2019"
        ),
        status="available",
        code=(
            "eventhpe.shapenet.heads.hemlets",
            "eventhpe.shapenet.heads.triplets",
            "eventhpe.shapenet.heads.volumetric",
        ),
        recipes=("hemlets", "volumetric"),
        docs="systems/hemlets.md",
    ),
    System(
        name="HEMlets PoSh",
        task="one person's crop to body pose and shape, on top of HEMlets; gives EventHPE its start",
        paper=(
            "Zhou et al., "
            "HEMlets PoSh: Learning Part-Centric Heatmap Triplets for 3D Human Pose and Shape Estimation, "
            "TPAMI 2021"
        ),
        status="available",
        code=("eventhpe.shapenet.posh", "eventhpe.shapenet.posh_losses", "eventhpe.training.posh"),
        recipes=("posh",),
        docs="systems/posh.md",
    ),
    System(
        name="HSJP",
        task="pretraining on unlabelled recordings, by heatmap-style jigsaw puzzles",
        paper=(
            "Zhang et al., "
            "Learning Heatmap-Style Jigsaw Puzzles Provides Good Pretraining for 2D Human Pose Estimation, "
            "arXiv 2012.07101, 2020"
        ),
        status="available",
        code=("eventhpe.shapenet.hsjp", "eventhpe.shapenet.jigsaw", "eventhpe.data.jigsaw_samples"),
        recipes=("hsjp",),
        docs="systems/hsjp.md",
    ),
    System(
        name="SAHR + WAHR",
        task="frames with several people to 2D joints, bottom-up, with scale- and weight-adaptive heatmaps",
        paper=(
            "Luo et al., Rethinking the Heatmap Regression for Bottom-up Human Pose Estimation, CVPR 2021"
        ),
        status="available",
        code=(
            "eventhpe.shapenet.heads.swahr",
            "eventhpe.shapenet.heads.swahr_losses",
            "eventhpe.shapenet.heads.associative",
            "eventhpe.find_people",
        ),
        recipes=("swahr",),
        docs="systems/swahr.md",
    ),
    System(
        name="SimDR",
        task="one person's crop to 2D joints, each coordinate a 1-D classification",
        paper=(
            "Li et al., "
            "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation, "
            "ECCV 2022"
        ),
        status="available",
        code=("eventhpe.shapenet.heads.simdr", "eventhpe.shapenet.heads.simdr_codec", "eventhpe.pose"),
        recipes=("simdr", "heatmap", "integral", "regression"),
        docs="systems/simdr.md",
    ),
)
