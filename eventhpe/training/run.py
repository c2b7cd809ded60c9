"""Run the trainings of FlowNet and ShapeNet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L

from eventhpe.body.default import load_body, open_body
from eventhpe.body.model import BodyModel
from eventhpe.data import dhp19_samples, mmhpsd_dataset
from eventhpe.data.framed_clips import FramedClipSamples
from eventhpe.data.mmhpsd import MMHPSD
from eventhpe.data.pseudo_samples import PseudoSamples
from eventhpe.data.sample import Clip
from eventhpe.data.streaming import ClipSamples, FlowSamples, Samples, SampleStream, StreamConfig
from eventhpe.data.windows import WINDOW_US
from eventhpe.errors import FormatError, ShapeError
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.flownet.network import FlowNetConfig
from eventhpe.shapenet.frame_head import FrameHeadConfig
from eventhpe.shapenet.losses import ShapeLossWeights
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import ShapeNetConfig
from eventhpe.training.flownet import FlowNetModule, FlowObjective
from eventhpe.training.loop import TrainConfig, TrainResult, fit, start_from
from eventhpe.training.shapenet import ShapeNetModule, mean_pose
from eventhpe.weights.files import load_network

PROBE_CLIPS = 256
"""Clips whose mean pose a fresh ShapeNet starts from."""


MAY_LACK = ("encoder.joints.", "encoder.joint_features.", "encoder.trace.")
"""Parts of ShapeNet that add nothing before they are trained, so weights without them can be gone on from."""


@dataclass(frozen=True)
class PseudoLabels:
    """Joints that another network found, see data/pseudo_samples.py.

    Attributes:
        recordings: folder of converted recordings.
        poses: folder with `<recording>/poses.npz` for each.
        min_confidence: joints of less are not learned from.
    """

    recordings: Path
    poses: Path
    min_confidence: float = 0.15


def train_flownet(
    config: TrainConfig,
    network: FlowNetConfig,
    *,
    objective: FlowObjective = "photometric",
    init: Path | None = None,
) -> TrainResult:
    """Train FlowNet; the parity variant sees binary frames as published, the fixed one counts.

    Raises:
        FormatError: an objective that needs gray images, on DHP19.
        ShapeError: objective "bodies" for the parity variant.
    """
    L.seed_everything(config.seed, verbose=False)
    kind = "binary" if network.variant == "parity" else "counts"
    samples: Samples = FlowSamples(config.size_px, kind)
    body: BodyModel | None = None
    if objective == "bodies":
        body, samples = _clip_samples(config, 1, kind, parity=False)
    elif config.source == "mmhpsd":
        samples = mmhpsd_dataset.FlowSamples(size_px=config.size_px, kind=kind)
    elif config.source == "dhp19":
        if objective != "contrast" or network.variant == "parity":
            asked = "the parity variant" if network.variant == "parity" else f"objective {objective}"
            raise FormatError(
                f"FlowNet on DHP19: {asked} learns from gray images, and DHP19 has none; use --objective "
                "contrast or bodies with the fixed variant."
            )
        samples = dhp19_samples.FlowSamples(config.size_px, kind, part=_dhp19_part(config))
    data = _training_data(config, samples)
    val = None if config.val_data is None else _held_out(samples).open(config.val_data, 256, 10_001)
    module = FlowNetModule(network, objective=objective, lr=config.lr, steps=config.steps, body=body)
    start_from(module.network, init)
    return fit(
        config, module, data, val, name="flownet", extra={"input_kind": kind}, facts=_told_of_dhp19(config)
    )


def train_shapenet(
    config: TrainConfig,
    network: ShapeNetConfig,
    *,
    loss: ShapeLossWeights,
    num_windows: int = 12,
    flow_weights: Path | None = None,
    init: Path | None = None,
    frame: FrameHeadConfig | None = None,
    pseudo: PseudoLabels | None = None,
) -> TrainResult:
    """Train ShapeNet on clips of `num_windows` windows, a frozen FlowNet giving the flow.

    Args:
        frame: a head on the encoder for frame-aligned supervision; None = without.
        pseudo: windows from which that head learns, instead of from the clips' own joints; their skeleton
            replaces the one in `frame`.
    Raises:
        ShapeError: the network uses flow and no FlowNet weights are given, or a stream's recordings are too
            short for such clips.
        FormatError, MissingAssetError: no usable joints in `pseudo`.
    """
    L.seed_everything(config.seed, verbose=False)
    parity = network.variant == "parity"
    kind = "binary" if parity else "counts"
    flow = None
    if network.use_flow:
        if flow_weights is None:
            raise ShapeError("ShapeNet with flow needs FlowNet weights (--flow-weights), or switch flow off.")
        flow_network, card = load_network(flow_weights)
        sees = card.data.get("training", {}).get("input_kind")
        if sees != kind:
            raise ShapeError(
                f"{flow_weights}: this FlowNet was trained on {sees} frames, the {network.variant} ShapeNet "
                f"reads {kind} frames; train FlowNet with the same --variant first."
            )
        flow = FlowEstimator(flow_network, batch_size=64)

    body, samples = _clip_samples(config, num_windows, kind, parity=parity)
    if isinstance(config.data, StreamConfig):
        _check_clips_fit(config.data, num_windows)
    drawn: Samples = samples
    if frame is not None and pseudo is not None:
        windows = PseudoSamples(config.size_px, kind, min_confidence=pseudo.min_confidence)
        probe = windows.open(pseudo.recordings, pseudo.poses, seed=config.seed)
        frame = replace(frame, skeleton=probe.skeleton.name)
        drawn = FramedClipSamples(samples, windows, pseudo.recordings, pseudo.poses)
    data = _training_data(config, drawn)
    val = None if config.val_data is None else _held_out(samples).open(config.val_data, 64, 10_001)
    module = ShapeNetModule(network, body, flow, loss=loss, lr=config.lr, steps=config.steps, frame=frame)
    begun = init is not None or (config.output / "last.ckpt").exists()
    # Where weights follow anyway, a stream need not be generated for the probe.
    if isinstance(module.network, ShapeNet) and not (begun and isinstance(config.data, StreamConfig)):
        small = replace(samples, size_px=16)  # type: ignore[type-var]
        module.network.set_mean_pose(mean_pose(_probe(config, small)))
    start_from(module.network, init, may_lack=MAY_LACK)
    if isinstance(module.network, ShapeNet):  # weights to start from may be of another body
        module.network.set_body(body.J_template[0].cpu(), body.J_shapedirs[0].cpu())
    extra = {
        "num_windows": num_windows,
        "input_kind": kind,
        "body": body.name,
        "frame_labels": None if frame is None else "own" if pseudo is None else pseudo.poses.name,
    }
    return fit(config, module, data, val, name="shapenet", extra=extra, facts=_told_of_dhp19(config))


def _clip_samples(
    config: TrainConfig, num_windows: int, kind: str, *, parity: bool
) -> tuple[BodyModel, Samples]:
    """The body of the data, and how clips are drawn from it."""
    if config.source != "mmhpsd":
        body = open_body()
        clips = ClipSamples(
            num_windows, config.size_px, kind, rest_pelvis_x=float(body.J_template[0, 0]), steady_crop=parity
        )
        if config.source == "dhp19":
            clips = dhp19_samples.ClipSamples(**asdict(clips), part=_dhp19_part(config))
        return body, clips
    assert isinstance(config.data, Path)
    worn = MMHPSD(config.data).body
    # As published for the parity variant; otherwise steps of one frame (67 ms), nearest to our windows.
    return load_body(worn.model, gender=worn.gender), mmhpsd_dataset.ClipSamples(
        num_windows=num_windows, size_px=config.size_px, kind=kind, whole_image=parity,
        step_frames=mmhpsd_dataset.WINDOW_FRAMES[kind],
    )  # fmt: skip


def _dhp19_part(config: TrainConfig) -> dhp19_samples.Part:
    """Validation subjects are held out only where something validates."""
    return "all" if config.val_data is None else "train"


def _held_out(samples: Samples) -> Samples:
    """The same without augmentation; of MMHPSD and DHP19 their validation subjects."""
    plain = replace(samples, augment=False)  # type: ignore[type-var]
    if isinstance(plain, mmhpsd_dataset.ClipSamples | mmhpsd_dataset.FlowSamples):
        return replace(plain, split="val")
    if isinstance(plain, dhp19_samples.ClipSamples | dhp19_samples.FlowSamples):
        return replace(plain, part="val")
    return plain


def _training_data(config: TrainConfig, samples: Samples) -> Any:
    if isinstance(config.data, StreamConfig):
        return SampleStream(config.data, samples, batch_size=config.batch_size, workers=config.workers)
    return samples.open(config.data, config.steps * config.batch_size, config.seed)


def _check_clips_fit(stream: StreamConfig, num_windows: int) -> None:
    """Refuse before anything is generated what `ClipDataset` would refuse afterwards."""
    generator = stream.generator
    if WINDOW_US % generator.label_step_us:
        raise ShapeError(
            f"GeneratorConfig.label_step_us ({generator.label_step_us}) must divide the windows of "
            f"{WINDOW_US // 1000} ms that ShapeNet learns from."
        )
    if round(generator.duration_s * 1e6) < num_windows * WINDOW_US:
        raise ShapeError(
            f"GeneratorConfig.duration_s ({generator.duration_s}) is shorter than {num_windows} windows of "
            f"{WINDOW_US // 1000} ms (--num-windows)."
        )


def _probe(config: TrainConfig, samples: Samples) -> list[Clip]:
    """Clips of the folder, or of the stream's first group."""
    if not isinstance(config.data, StreamConfig):
        drawn = samples.open(config.data, PROBE_CLIPS, config.seed + 7)
        return [drawn[i] for i in range(PROBE_CLIPS)]
    first = replace(config.data, batches=PROBE_CLIPS)
    stream = SampleStream(first, samples, batch_size=1, workers=0)
    return [Clip(*(value[0] for value in clip)) for clip in islice(stream, PROBE_CLIPS)]


def _told_of_dhp19(config: TrainConfig) -> Callable[[Any], dict[str, Any]]:
    """What cards say about DHP19's recordings: the subjects, so that none of them is tested on."""
    if config.source != "dhp19":
        return lambda data: {}
    return lambda data: {"source": "dhp19", "subjects": dhp19_samples.recorded_subjects(data.paths)}
