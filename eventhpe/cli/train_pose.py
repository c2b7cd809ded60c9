"""`eventhpe train` for the pose systems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventhpe.cli.train import Options
    from eventhpe.training.loop import TrainConfig, TrainResult

HEADS = ("heatmap", "integral", "regression", "simdr", "volumetric", "hemlets")
POSE_SYSTEMS = (*HEADS, "posh", "swahr", "hsjp")

_ARMS = {"mse": (False, False), "sahr": (True, False), "wahr": (False, True), "swahr": (True, True)}


def train_pose_system(options: Options) -> TrainResult:
    """Train one of POSE_SYSTEMS.

    Raises:
        FormatError: data of a kind that the system does not learn from.
        ShapeError: options that make no sense.
    """
    from eventhpe.training.run_pose import train_hsjp, train_pose, train_swahr

    config = _config(options)
    if options.system in HEADS:
        from eventhpe.shapenet.heads.pose_net import PoseNetConfig

        return train_pose(
            config,
            PoseNetConfig(
                head=options.system, skeleton=options.skeleton or "dhp19_15", size=options.size_px,
                in_channels=_channels(options), encoder=options.encoder, width=options.width,
                options=head_options(options.head_options),
            ),
            init=options.init, pretrained=options.pretrained, transferred=options.transfer,
            weak_share=options.weak_share, num_labelled=options.num_labelled,
            min_events=options.min_events, view=options.view,
            kind="gray" if options.input == "gray" else "counts",
        )  # fmt: skip
    if options.system == "posh":
        return _posh(options, config)
    if options.system == "swahr":
        from eventhpe.shapenet.heads.swahr import SWAHRConfig
        from eventhpe.shapenet.heads.swahr_losses import AdaptiveOptions

        sahr, wahr = _ARMS[options.arm]
        network = SWAHRConfig(
            skeleton=options.skeleton or "dhp19_15", encoder=options.encoder, width=options.width,
            loss=AdaptiveOptions(sahr=sahr, wahr=wahr),
        )  # fmt: skip
        return train_swahr(config, network, size=options.image_size, init=options.init)
    from eventhpe.shapenet.hsjp import HSJPConfig

    puzzle = HSJPConfig(size=options.size_px, encoder=options.encoder, width=options.width)
    return train_hsjp(config, puzzle, init=options.init)


def _posh(options: Options, config: TrainConfig) -> TrainResult:
    from eventhpe.errors import FormatError
    from eventhpe.shapenet.heads.pose_net import PoseNet, PoseNetConfig
    from eventhpe.shapenet.posh import PoShConfig
    from eventhpe.training.run_pose import train_posh
    from eventhpe.weights.files import load_network

    below = PoseNetConfig(
        head="hemlets", skeleton=options.skeleton or "smpl24", size=options.size_px,
        in_channels=_channels(options), encoder=options.encoder, width=options.width,
        options=head_options(options.head_options),
    )  # fmt: skip
    if options.hemlets is not None:
        net = load_network(options.hemlets)[0]
        if not isinstance(net, PoseNet):
            raise FormatError(f"{options.hemlets}: expected weights of `eventhpe train hemlets`.")
        below = net.config
    network = PoShConfig(hemlets=below, inputs=options.inputs, hidden=options.hidden)
    return train_posh(
        config, network, later=options.later, init=options.init, hemlets=options.hemlets,
        min_events=options.min_events,
    )  # fmt: skip


def _config(options: Options) -> TrainConfig:
    from eventhpe.cli.train import train_config, training_data, validation_folder
    from eventhpe.errors import FormatError

    kind, _, folder = options.data.partition(":")
    if kind == "mmhpsd":
        raise FormatError("the pose systems train on synthetic:FOLDER, stream:PRESET or dhp19:FOLDER.")
    if kind == "recordings" and (options.system != "hsjp" or not folder):
        raise FormatError(
            "recordings:FOLDER holds no labels, so only hsjp learns from it; give the other systems "
            "synthetic:FOLDER, stream:PRESET or dhp19:FOLDER."
        )
    if kind == "recordings":
        return train_config(options, Path(folder), _unlabelled(options.val_data))
    return train_config(options, training_data(options), validation_folder(options))


def _unlabelled(data: str | None) -> Path | None:
    return None if data is None else Path(data.partition(":")[2] or data)


def _channels(options: Options) -> int:
    """Of the input: prepared frames of DHP19 and gray images have one, our event windows eight."""
    from eventhpe.data.dhp19_bodies_files import holds_bodies
    from eventhpe.data.windows import NUM_CHANNELS

    kind, _, folder = options.data.partition(":")
    prepared = kind == "dhp19" and not holds_bodies(folder)
    return 1 if prepared or options.input == "gray" else NUM_CHANNELS


def head_options(words: tuple[str, ...]) -> dict[str, Any]:
    """NAME=VALUE words to a mapping; values are JSON, or else text.

    Raises:
        FormatError: a word without "=".
    """
    from eventhpe.errors import FormatError

    found: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise FormatError(f"--head-options takes NAME=VALUE words, such as k=3; got {word!r}.")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found
