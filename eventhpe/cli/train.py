"""`eventhpe train`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

HELP = "train FlowNet or ShapeNet"


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe train`."""

    system: Literal["flownet", "shapenet"]
    """What to train."""
    data: str = field(kw_only=True)
    """KIND:PATH of the training data, e.g. synthetic:FOLDER of recordings from `eventhpe simulate`."""
    output: Path = Path("runs/train")
    """Folder for checkpoints, logs and weights; the same command goes on where it stopped."""
    val_data: str | None = None
    """KIND:PATH of validation data."""
    init: Path | None = None
    """Weights to start from."""
    flow_weights: Path | None = None
    """ShapeNet: FlowNet weights (default: the shipped ones)."""
    variant: Literal["fixed", "parity"] = "fixed"
    """The repaired network and losses, or the published ones (ShapeNet: 49 M parameters, made for 256 px)."""
    objective: Literal["photometric", "contrast", "both"] = "photometric"
    """FlowNet, fixed variant: learn from gray images, from event contrast, or from both."""
    use_flow: bool = True
    """ShapeNet: feed flow to the network."""
    coherence: float = 0.1
    """ShapeNet: weight of the flow-coherence loss; 0 switches it off."""
    steps: int = 2000
    """Optimiser steps."""
    batch_size: int = 8
    """Windows (FlowNet) or clips (ShapeNet) per step."""
    num_windows: int = 12
    """ShapeNet: windows per clip."""
    lr: float = 1e-3
    """Peak learning rate."""
    width: int = 32
    """Channels of the first layer."""
    size_px: int = 128
    """Side of the square input."""
    seed: int = 1
    """Seed of weights and draws."""
    workers: int = 1
    """Data-loading processes."""
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    """Arithmetic."""
    max_minutes: float = 0.0
    """Stop after this time with a checkpoint to go on from; 0 = no limit."""


def run(options: Options) -> int:
    """Train and say where the weights are."""
    from eventhpe.flownet.network import FlowNetConfig
    from eventhpe.shapenet.losses import ShapeLossWeights
    from eventhpe.shapenet.state import ShapeNetConfig
    from eventhpe.training.run import TrainConfig, train_flownet, train_shapenet
    from eventhpe.weights.files import shipped

    config = TrainConfig(
        data=synthetic_folder(options.data),
        output=options.output,
        steps=options.steps,
        batch_size=options.batch_size,
        lr=options.lr,
        seed=options.seed,
        size_px=options.size_px,
        workers=options.workers,
        precision=options.precision,
        val_data=None if options.val_data is None else synthetic_folder(options.val_data),
        max_minutes=options.max_minutes,
        command=" ".join(["eventhpe", *sys.argv[1:]]),
    )
    if options.system == "flownet":
        network = FlowNetConfig(variant=options.variant, base_width=options.width)
        result = train_flownet(config, network, objective=options.objective, init=options.init)
    else:
        if options.variant == "parity":
            network_config = replace(ShapeNetConfig.parity(), use_flow=options.use_flow, size=options.size_px)
        else:
            network_config = ShapeNetConfig(
                use_flow=options.use_flow, width=options.width, size=options.size_px
            )
        result = train_shapenet(
            config,
            network_config,
            loss=ShapeLossWeights(coherence=options.coherence if options.use_flow else 0.0),
            num_windows=options.num_windows,
            flow_weights=options.flow_weights or (shipped("flownet") if options.use_flow else None),
            init=options.init,
        )
    for name, value in sorted(result.metrics.items()):
        print(f"{name:32s} {value:10.4f}")
    print(f"{'finished' if result.finished else 'stopped early, the same command goes on'}: {result.weights}")
    return 0


def synthetic_folder(data: str) -> Path:
    """Path of `synthetic:PATH`.

    Raises:
        FormatError: another kind of data, or none.
    """
    from eventhpe.errors import FormatError

    kind, colon, path = data.partition(":")
    if not colon or kind not in ("synthetic",):
        raise FormatError(f"--data must be synthetic:FOLDER (the loaders of this version); got {data!r}.")
    return Path(path)
