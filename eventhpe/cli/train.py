"""`eventhpe train`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eventhpe.cli.command_line import command_line

if TYPE_CHECKING:
    from eventhpe.data.streaming import StreamConfig
    from eventhpe.training.loop import TrainConfig, TrainResult

HELP = "train FlowNet, ShapeNet, the pose systems or the CNN of DHP19"


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe train`."""

    system: Literal[
        "flownet", "shapenet", "cnn", "heatmap", "integral", "regression", "simdr", "volumetric", "hemlets",
        "posh", "swahr", "hsjp",
    ]  # fmt: skip
    """What to train; `eventhpe systems` says what each is for."""
    data: str = field(kw_only=True)
    """synthetic:FOLDER of recordings from `eventhpe simulate`, or stream:PRESET (stream:lab, stream:wild) to
    generate recordings while training runs, or mmhpsd:ROOT in one of its layouts, or dhp19:FOLDER from
    `eventhpe prepare dhp19 --mode bodies` (FlowNet with --objective contrast: it has no gray images); for the
    CNN, dhp19:FOLDER of frames from `eventhpe prepare dhp19`, which heads learn from as well. HSJP needs no
    labels: recordings:FOLDER of files of any format."""
    output: Path = Path("runs/train")
    """Folder for checkpoints, logs and weights; the same command goes on where it stopped."""
    val_data: str | None = None
    """synthetic:FOLDER of validation data; mmhpsd:ROOT or dhp19:FOLDER to hold out their validation
    subjects."""
    motions: Path | None = None
    """Stream: folder of BVH and AMASS clips to draw from, besides the procedural movements."""
    settings: Path | None = None
    """Stream: YAML file with changes to the preset's settings (docs/simulate.md)."""
    stream_cache: Path | None = None
    """Stream: keep the recordings in this folder, for --stream-groups."""
    stream_groups: int = 0
    """Stream: groups of 4 recordings until the same ones come again, in new samples; 0 = always new ones."""
    init: Path | None = None
    """Weights to start from."""
    flow_weights: Path | None = None
    """ShapeNet: FlowNet weights (default: the shipped ones)."""
    variant: Literal["fixed", "parity"] = "fixed"
    """The repaired network and losses, or the published ones (ShapeNet: 49 M parameters, made for 256 px)."""
    objective: Literal["photometric", "contrast", "both", "bodies"] = "photometric"
    """FlowNet, fixed variant: learn from gray images, from event contrast, or from both, without labels; or
    from the motion of known bodies."""
    use_flow: bool = True
    """ShapeNet: feed flow to the network."""
    follow_flow: bool = False
    """ShapeNet with flow, fixed variant: move the body along with the flow, not by the delta head."""
    joint_maps: int = 64
    """ShapeNet, fixed variant: channels of the maps from which it also reads where joints lie; 0 = none."""
    look_back: bool = True
    """ShapeNet, fixed variant: also show its encoder traces of the windows before."""
    coherence: float = 0.1
    """ShapeNet: weight of the flow-coherence loss; 0 switches it off."""
    frame_head: Literal["none", "heatmap", "integral", "regression", "simdr", "volumetric", "hemlets"] = (
        "none"
    )
    """ShapeNet: also train its encoder through such a head on the joints at the end of each window."""
    frame_weight: float = 0.1
    """ShapeNet: weight of the frame head's loss."""
    frame_recordings: Path | None = None
    """ShapeNet: folder of converted recordings from which the frame head learns, instead of from --data."""
    frame_poses: Path | None = None
    """ShapeNet: joints in those recordings, from `eventhpe pose FOLDER -o THIS`, such as HEMlets finds in
    gray images."""
    frame_confidence: float = 0.15
    """ShapeNet: joints of --frame-poses with less confidence are not learned from."""
    steps: int = 2000
    """Optimiser steps; the CNN counts --epochs."""
    epochs: float = 20.0
    """CNN: passes over the frames of both front views."""
    sigma: float = 2.0
    """CNN: width of the heatmaps in pixels, 2 in the paper, 4 in the authors' code."""
    hold_out: bool = True
    """CNN: validate on S10 to S12 and train on S1 to S9; else train on S1 to S12."""
    batch_size: int = 8
    """Windows (FlowNet), clips (ShapeNet), frames (CNN), crops or images per step."""
    num_windows: int = 12
    """ShapeNet: windows per clip."""
    lr: float = 1e-3
    """Peak learning rate."""
    width: int = 32
    """Channels of the first layer."""
    size_px: int = 128
    """Side of the square input."""
    encoder: Literal["resnet18", "resnet50"] = "resnet18"
    """Pose systems: the encoder."""
    skeleton: Literal["dhp19", "dhp19_15", "smpl24"] | None = None
    """Pose systems: joints to learn; by default dhp19_15, for PoSh smpl24."""
    head_options: tuple[str, ...] = ()
    """Heads, PoSh, ShapeNet's frame head: NAME=VALUE words, such as k=3 sigma=6 (docs/systems/simdr.md)."""
    input: Literal["events", "gray"] = "events"
    """Heads: read windows of events, or the gray images at the times of the poses."""
    weak_share: float = 0.0
    """Heads: share of the poses that keep joints in the image and depth orders only."""
    num_labelled: int = 0
    """Heads: learn from so many labelled poses only; 0 = all."""
    min_events: int = 0
    """Heads and PoSh: leave out windows with fewer events of the person, who stands still in them."""
    view: Literal["person", "frame"] = "person"
    """Heads on DHP19's prepared frames: the square around the person, or the whole frame (--size-px 352)."""
    pretrained: Path | None = None
    """Heads: weights of `eventhpe train hsjp` to begin with."""
    transfer: Literal["encoder", "all_but_last"] = "encoder"
    """Heads: what to take of them."""
    hemlets: Path | None = None
    """PoSh: weights of `eventhpe train hemlets` to stand on; without them it learns HEMlets first."""
    inputs: Literal["full", "joints", "pooled"] = "full"
    """PoSh: what the regressor sees: joints and part features, joints alone, or the encoder alone."""
    hidden: int = 1024
    """PoSh: width of the regressor."""
    later: float = 1.0
    """PoSh: factor on the step sizes of its later stages, for short trainings."""
    arm: Literal["mse", "sahr", "wahr", "swahr"] = "swahr"
    """SWAHR: adapt the scale of heatmaps, their weights, both, or neither."""
    image_size: tuple[int, int] = (192, 256)
    """SWAHR: height and width to which images are fitted, multiples of 32."""
    seed: int = 1
    """Seed of weights and draws."""
    workers: int = 1
    """Data-loading processes; for a stream, processes that generate recordings."""
    devices: int = 1
    """GPUs, or processes where there is none, that share every batch. On a CPU, give each process a part of
    the cores (OMP_NUM_THREADS)."""
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    """Arithmetic."""
    max_minutes: float = 0.0
    """Stop after this time with a checkpoint to go on from; 0 = no limit."""


def run(options: Options) -> int:
    """Train and say where the weights are."""
    from eventhpe.cli.train_frames import refuse_frames, refuse_gray
    from eventhpe.cli.train_pose import POSE_SYSTEMS, train_pose_system

    refuse_gray(options)
    if options.system != "shapenet":
        refuse_frames(options)
    if options.system in POSE_SYSTEMS:
        result = train_pose_system(options)
    else:
        result = _train_cnn(options) if options.system == "cnn" else _train(options)
    for name, value in sorted(result.metrics.items()):
        print(f"{name:32s} {value:10.4f}")
    print(f"{'finished' if result.finished else 'stopped early, the same command goes on'}: {result.weights}")
    return 0


def _train(options: Options) -> TrainResult:
    from eventhpe.cli.train_frames import frame_head, pseudo_labels
    from eventhpe.flownet.network import FlowNetConfig
    from eventhpe.shapenet.losses import ShapeLossWeights
    from eventhpe.shapenet.state import ShapeNetConfig
    from eventhpe.training.run import train_flownet, train_shapenet
    from eventhpe.weights.files import shipped

    config = train_config(options, training_data(options), validation_folder(options))
    if options.system == "flownet":
        network = FlowNetConfig(variant=options.variant, base_width=options.width)
        return train_flownet(config, network, objective=options.objective, init=options.init)
    if options.variant == "parity":
        network_config = replace(ShapeNetConfig.parity(), use_flow=options.use_flow, size=options.size_px)
    else:
        network_config = ShapeNetConfig(
            use_flow=options.use_flow, width=options.width, size=options.size_px,
            follow_flow=options.follow_flow and options.use_flow, joint_maps=options.joint_maps,
            look_back=options.look_back,
        )  # fmt: skip
    return train_shapenet(
        config,
        network_config,
        loss=ShapeLossWeights(coherence=options.coherence if options.use_flow else 0.0),
        num_windows=options.num_windows,
        flow_weights=options.flow_weights or (shipped("flownet") if options.use_flow else None),
        init=options.init,
        frame=frame_head(options),
        pseudo=pseudo_labels(options),
    )


def train_config(options: Options, data: Path | StreamConfig, val_data: Path | None) -> TrainConfig:
    """What all trainings but the CNN's share."""
    from eventhpe.training.loop import TrainConfig

    return TrainConfig(
        data=data,
        output=options.output,
        steps=options.steps,
        batch_size=options.batch_size,
        lr=options.lr,
        seed=options.seed,
        size_px=options.size_px,
        workers=options.workers,
        precision=options.precision,
        val_data=val_data,
        source=data_source(options.data),
        max_minutes=options.max_minutes,
        devices=options.devices,
        command=command_line(),
    )


def _train_cnn(options: Options) -> TrainResult:
    from eventhpe.errors import FormatError
    from eventhpe.training.dhp19_cnn import CNNTrainConfig, train_dhp19_cnn

    if options.devices != 1:
        raise FormatError("the CNN of DHP19 trains on one device; leave --devices out.")
    kind, _, folder = options.data.partition(":")
    if kind != "dhp19" or not folder or options.val_data is not None:
        raise FormatError(
            "the CNN of DHP19 trains with --data dhp19:FOLDER, made by `eventhpe prepare dhp19`, and "
            f"validates on subjects of the same folder; got --data {options.data}"
            + ("." if options.val_data is None else f" --val-data {options.val_data}.")
        )
    return train_dhp19_cnn(
        CNNTrainConfig(
            data=Path(folder),
            output=options.output,
            epochs=options.epochs,
            batch_size=options.batch_size,
            lr=options.lr,
            sigma=options.sigma,
            hold_out=options.hold_out,
            seed=options.seed,
            workers=options.workers,
            precision=options.precision,
            max_minutes=options.max_minutes,
            init=options.init,
            command=command_line(),
        )
    )


def data_source(data: str) -> Literal["synthetic", "mmhpsd", "dhp19"]:
    """What the folder of --data holds."""
    kind = data.partition(":")[0]
    return "mmhpsd" if kind == "mmhpsd" else "dhp19" if kind == "dhp19" else "synthetic"


def training_data(options: Options) -> Path | StreamConfig:
    """Folder or stream that --data names.

    Raises:
        FormatError: another kind of data, or options of a stream without one.
    """
    from eventhpe.data.presets import preset_config
    from eventhpe.data.settings_file import read_settings
    from eventhpe.data.streaming import stream_config
    from eventhpe.errors import FormatError

    kind, colon, preset = options.data.partition(":")
    if colon and kind == "mmhpsd":
        return Path(preset)
    if not colon or kind != "stream":
        for name in ("motions", "settings", "stream_cache", "stream_groups"):
            if getattr(options, name):
                raise FormatError(f"--{name.replace('_', '-')} goes with --data stream:PRESET only.")
        if colon and kind == "dhp19" and preset:
            return Path(preset)
        return synthetic_folder(options.data, or_stream=True)
    generator = preset_config(preset)
    if options.settings is not None:
        generator = read_settings(options.settings, generator)
    # FlowNet learns without true flow, so none is rendered.
    stream = stream_config(generator, motions=options.motions, seed=options.seed, flow=False)
    return replace(stream, cache=options.stream_cache, num_groups=options.stream_groups)


def validation_folder(options: Options) -> Path | None:
    """Folder that --val-data names; with MMHPSD and DHP19 the folder again, of which the validation subjects
    are taken.

    Raises:
        FormatError: another kind of data than --data.
    """
    from eventhpe.errors import FormatError

    if options.val_data is None:
        return None
    if options.data.startswith("mmhpsd:"):
        if not options.val_data.startswith("mmhpsd:"):
            raise FormatError(f"--val-data must be mmhpsd:ROOT, as --data is; got {options.val_data!r}.")
        return Path(options.val_data.partition(":")[2])
    if options.data.startswith("dhp19:"):
        if not options.val_data.startswith("dhp19:") or options.val_data == "dhp19:":
            raise FormatError(
                f"--val-data must be dhp19:FOLDER, as --data is; S10 to S12 are then held out. Got "
                f"{options.val_data!r}."
            )
        return Path(options.val_data.partition(":")[2])
    return synthetic_folder(options.val_data)


def synthetic_folder(data: str, *, or_stream: bool = False) -> Path:
    """Path of `synthetic:PATH`.

    Raises:
        FormatError: another kind of data, or none.
    """
    from eventhpe.errors import FormatError

    kind, colon, path = data.partition(":")
    if not colon or kind != "synthetic":
        option = (
            "--data must be synthetic:FOLDER, stream:PRESET, mmhpsd:ROOT or dhp19:FOLDER"
            if or_stream
            else "--val-data must be synthetic:FOLDER"
        )
        raise FormatError(f"{option} (the loaders of this version); got {data!r}.")
    return Path(path)
