"""Do the published effects of five pose systems show on our own data? Equal encoders, equal steps, equal seeds.

    python tools/bench/pose_heads.py DATA [--parts simdr hsjp swahr hemlets posh] [--scale 1] [-o FILE]

DATA holds folders of recordings, made by (motions: clips that benchmarks never draw from, see docs/motion.md)

    eventhpe simulate --motions CLIPS --settings tools/bench/pose_one.yaml --no-flow-labels --n 260 --seed 101 -o DATA/pose_train
    eventhpe simulate --motions CLIPS --settings tools/bench/pose_one.yaml --no-flow-labels --n 40 --seed 202 -o DATA/pose_val
    eventhpe simulate --motions CLIPS --settings tools/bench/pose_crowd.yaml --no-flow-labels --n 100 --seed 301 -o DATA/crowd_train
    eventhpe simulate --motions CLIPS --settings tools/bench/pose_crowd.yaml --no-flow-labels --n 24 --seed 402 -o DATA/crowd_val

Encoder: ResNet-18 of width 32 everywhere. Samples are drawn once per part and kept in memory as bytes, so that all
arms see the same ones in the same order. SimDR and HSJP start from fresh weights. The others need longer trainings
than a CPU affords and start from what is shipped, the same for every arm: SWAHR from weights trained with plain MSE,
HEMlets from the encoder of SimDR, which never saw a depth order, and PoSh's regressors from its HEMlets. Results of
finished parts stay in FILE; a part that is asked for again is measured again, and two processes may measure
different parts at once.
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timing
import torch
from torch import Tensor, nn

from eventhpe.body.default import open_body
from eventhpe.data.crowd_samples import CrowdSample, CrowdSamples
from eventhpe.data.jigsaw_samples import JigsawSample, JigsawSamples
from eventhpe.data.pose_sample import PoseSample
from eventhpe.data.pose_samples import PoseSamples
from eventhpe.data.sample import collate
from eventhpe.evaluation.average_precision import TruePeople, average_precision
from eventhpe.evaluation.metrics import pa_mpjpe
from eventhpe.geometry.skeleton import SMPL_SKELETON, Skeleton
from eventhpe.geometry.twist import twist_error
from eventhpe.shapenet.body_joints import body_joints
from eventhpe.shapenet.crop import crop_to_intrinsics
from eventhpe.shapenet.heads.depth_recovery import lift
from eventhpe.shapenet.heads.heatmap_decoding import decode_maps
from eventhpe.shapenet.heads.hemlets import HEMletsHead
from eventhpe.shapenet.heads.pose_net import PoseNet, PoseNetConfig
from eventhpe.shapenet.heads.swahr import SWAHRConfig, SWAHRNet
from eventhpe.shapenet.heads.swahr_losses import AdaptiveOptions
from eventhpe.shapenet.heads.triplets import order_accuracy
from eventhpe.shapenet.hsjp import HSJPConfig, HSJPNet, make_puzzle, transfer
from eventhpe.shapenet.posh import PoShConfig, PoShNet
from eventhpe.shapenet.posh_losses import posh_losses
from eventhpe.training.posh import posh_labels
from eventhpe.training.schedule import adamw_with_cosine
from eventhpe.weights.files import load_network

WIDTH, CHANNELS = 32, 64
SHIPPED = Path(__file__).parents[2] / "eventhpe" / "weights"
MIN_EVENTS = 1500
"""People who stand still show in no events; windows with fewer than this near the person are left out."""
SEEDS = (1, 2, 3)
Losses = Callable[[nn.Module, Any, int], dict[str, Tensor]]


class Kept(NamedTuple):
    """Samples in memory, frames as bytes."""

    frames: Tensor
    rest: Any

    @classmethod
    def of(cls, data: Any, count: int, what: str) -> Kept:
        began = time.monotonic()
        samples = [data[i] for i in range(count)]
        data.close()
        frames = torch.stack([(s.frames * 255).round().to(torch.uint8) for s in samples])
        rest = collate([s._replace(frames=s.frames[:0]) for s in samples])
        print(f"  {count} samples for {what}: {time.monotonic() - began:.0f} s", flush=True)
        return cls(frames, rest)

    def batch(self, which: Tensor) -> Any:
        picked = type(self.rest)(*(value[which] for value in self.rest))
        return picked._replace(frames=self.frames[which].float() / 255)

    def __len__(self) -> int:
        return len(self.frames)


class Trained(NamedTuple):
    """Seconds of a training, and the mean loss of its last tenth."""

    seconds: float
    loss: float


def train(
    network: nn.Module,
    data: Kept,
    losses: Losses,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    lr: float = 1e-3,
    limit: int = 0,
) -> Trained:
    """AdamW with a cosine; the order of the samples depends on the seed alone.

    Args:
        limit: learn from the first so many samples only; 0 = all.
    """
    began, n = time.monotonic(), limit or len(data)
    plan = adamw_with_cosine(network, lr=lr, steps=steps, weight_decay=1e-4)
    optimizer, schedule = plan["optimizer"], plan["lr_scheduler"]["scheduler"]
    order = np.concatenate(
        [np.random.default_rng([seed, e]).permutation(n) for e in range(-(-steps * batch_size // n))]
    )
    network.train()
    seen: list[float] = []
    for step in range(steps):
        which = torch.from_numpy(order[step * batch_size : (step + 1) * batch_size])
        batch = data.batch(which)
        with torch.autocast("cpu", torch.bfloat16):
            terms = losses(network, batch, step)
        total = torch.stack([t.float() for t in terms.values()]).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        seen.append(float(total.detach()))
    network.eval()
    return Trained(time.monotonic() - began, float(np.mean(seen[-max(1, steps // 10) :])))


def head_losses(network: nn.Module, batch: PoseSample, step: int) -> dict[str, Tensor]:
    assert isinstance(network, PoseNet)
    return network.losses(network(batch.frames), batch.labels)


def maps_of(network: PoseNet, data: Kept, batch_size: int = 64) -> list[tuple[PoseSample, dict[str, Tensor]]]:
    """Every sample's maps, in evaluation mode."""
    found = []
    with torch.inference_mode():
        for begin in range(0, len(data), batch_size):
            batch = data.batch(torch.arange(begin, min(begin + batch_size, len(data))))
            found.append((batch, network(batch.frames)))
    return found


def errors_2d(uv: Tensor, truth: PoseSample) -> dict[str, float]:
    """Pixels and shares within 5 and 2 per cent of the person's size, over joints in the crop."""
    S = truth.frames.shape[-1]
    inside = truth.known & (truth.uv > -0.5).all(-1) & (truth.uv < S - 0.5).all(-1)
    low = torch.where(truth.known[..., None], truth.uv, torch.inf).amin(1)
    high = torch.where(truth.known[..., None], truth.uv, -torch.inf).amax(1)
    size = (high - low).amax(-1, keepdim=True)
    error = (uv.float() - truth.uv).norm(dim=-1)
    return {
        "px": float(error[inside].mean()),
        "median_px": float(error[inside].median()),
        "pck05": 100 * float((error < 0.05 * size)[inside].float().mean()),
        "pck02": 100 * float((error < 0.02 * size)[inside].float().mean()),
        "pck10": 100 * float((error < 0.10 * size)[inside].float().mean()),
    }


def joined(parts: Sequence[PoseSample]) -> PoseSample:
    return PoseSample(*(torch.cat(values) for values in zip(*parts, strict=True)))


def spread(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Mean and range over seeds."""
    return {
        key: {"mean": float(np.mean([r[key] for r in rows])), "seeds": [round(r[key], 4) for r in rows]}
        for key in rows[0]
    }


def training_samples(size: int, **options: Any) -> PoseSamples:
    """Varied crops of people who move, the camera upright."""
    return PoseSamples(size, min_events=MIN_EVENTS, roll_share=0.0, **options)


def validation_samples(size: int, **options: Any) -> PoseSamples:
    return PoseSamples(size, augment=False, min_events=MIN_EVENTS, **options)


def pose_config(head: str, size: int, skeleton: str = "dhp19_15", **options: Any) -> PoseNetConfig:
    return PoseNetConfig(head=head, skeleton=skeleton, size=size, width=WIDTH, options=options)


def part_simdr(args: argparse.Namespace) -> dict[str, Any]:
    """SimDR against heatmaps at 64 and 128 px, three seeds; controls with one."""
    result: dict[str, Any] = {}
    for size, steps, count, sigma_bins in ((64, 700, 4000, 2.0), (128, 250, 3000, 4.0)):
        steps = round(steps * args.scale)
        data = Kept.of(
            training_samples(size).open(args.data / "pose_train", count, 1),
            count,
            f"{size} px",
        )
        val = Kept.of(
            validation_samples(size).open(args.data / "pose_val", 500, 2),
            500,
            "validation",
        )
        arms: dict[str, tuple[PoseNetConfig, Sequence[int]]] = {
            "heatmap": (pose_config("heatmap", size, channels=CHANNELS), SEEDS),
            "simdr, Gaussian": (pose_config("simdr", size, channels=CHANNELS, sigma=sigma_bins), SEEDS),
        }
        if size == 64:
            one_hot = pose_config("simdr", size, channels=CHANNELS, labels="onehot")
            arms |= {
                "simdr, one-hot": (one_hot, SEEDS),
                "soft-argmax": (pose_config("integral", size, channels=CHANNELS), SEEDS[:1]),
                "regression": (
                    pose_config("regression", size, source="vectors", channels=CHANNELS),
                    SEEDS[:1],
                ),
            }
        rows: dict[str, list[dict[str, float]]] = {}
        for name, (config, seeds) in arms.items():
            for seed in seeds:
                torch.manual_seed(seed)
                net = PoseNet(config)
                told = train(net, data, head_losses, steps=steps, batch_size=32, seed=seed)
                for row, scores in _decoded(name, net, val).items():
                    rows.setdefault(row, []).append(scores | {"seconds": told.seconds})
                print(
                    f"  {size} px {name} seed {seed}: {rows[name][-1]['px']:.2f} px, {told.seconds:.0f} s",
                    flush=True,
                )
        floor = _rounded_floor(val)
        result[f"{size} px"] = {
            "steps": steps, "batch": 32, "samples": count, "validation": len(val),
            "rows": {name: spread(scores) for name, scores in rows.items()}, "floor": floor,
        }  # fmt: skip
    return result


def _decoded(name: str, net: PoseNet, val: Kept) -> dict[str, dict[str, float]]:
    """Scores; of heatmaps by three ways of reading the same maps."""
    found = maps_of(net, val)
    truth = joined([batch for batch, _ in found])
    if name != "heatmap":
        return {name: errors_2d(torch.cat([net.head.decode(maps).uv for _, maps in found]), truth)}
    scores = {}
    ways = (("argmax", "argmax"), ("DARK", "dark"), ("fit", "fit"))
    for row, way in (("heatmap", "quarter"), *((f"heatmap, {row}", way) for row, way in ways)):
        cells = torch.cat([decode_maps(maps["heatmap"].float(), way, sigma=2.0)[0] for _, maps in found])
        scores[row] = errors_2d((cells + 0.5) * 4 - 0.5, truth)
    return scores


def _rounded_floor(val: Kept) -> dict[str, float]:
    """What rounding the truth to cells of 4 px and bins of 0.5 px costs by itself."""
    truth = val.batch(torch.arange(len(val)))
    cells = torch.round((truth.uv + 0.5) / 4 - 0.5)
    return {
        "cell_px": errors_2d((cells + 0.5) * 4 - 0.5, truth)["px"],
        "bin_px": errors_2d(torch.round(truth.uv * 2) / 2, truth)["px"],
    }


def part_hsjp(args: argparse.Namespace) -> dict[str, Any]:
    """Jigsaws against scratch and scratch with the jigsaw's steps added, at 100, 400 and 2,000 labels."""
    size, pretext = 64, round(400 * args.scale)
    budgets = {n: round(s * args.scale) for n, s in ((100, 120), (400, 160), (2000, 280))}
    unlabelled = Kept.of(JigsawSamples(size).open(args.data / "pose_train", 2000, 1), 2000, "jigsaws")
    data = Kept.of(training_samples(size).open(args.data / "pose_train", 2000, 1), 2000, "labels")
    val = Kept.of(
        validation_samples(size).open(args.data / "pose_val", 500, 2),
        500,
        "validation",
    )
    config = HSJPConfig(size=size, width=WIDTH, channels=CHANNELS, sigma=1.0)
    rows: dict[str, list[dict[str, float]]] = {}
    slots: list[float] = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        net = HSJPNet(config)
        told = train(net, unlabelled, _jigsaw_losses(seed), steps=pretext, batch_size=32, seed=seed)
        slots.append(_slots(net, unlabelled))
        print(f"  pretext seed {seed}: slots {slots[-1]:.3f}, {told.seconds:.0f} s", flush=True)
        for count, steps in budgets.items():
            for arm, extra in (("scratch", 0), ("hsjp", 0), ("scratch, total steps", pretext)):
                torch.manual_seed(seed)
                head = PoseNet(pose_config("heatmap", size, channels=CHANNELS))
                if arm == "hsjp":
                    transfer(net, head, "all_but_last")
                train(head, data, head_losses, steps=steps + extra, batch_size=32, seed=seed, limit=count)
                scores = _decoded("heatmap", head, val)["heatmap"]
                rows.setdefault(f"{count} labels, {arm}", []).append(scores)
                print(f"  seed {seed}, {count} labels, {arm}: PCK@.10 {scores['pck10']:.1f}", flush=True)
    return {
        "pretext_steps": pretext, "fine_tune_steps": budgets, "slot_accuracy": slots,
        "chance": 1 / config.num_patches, "rows": {name: spread(scores) for name, scores in rows.items()},
    }  # fmt: skip


def _jigsaw_losses(seed: int) -> Losses:
    def losses(network: nn.Module, batch: JigsawSample, step: int) -> dict[str, Tensor]:
        assert isinstance(network, HSJPNet)
        draws = torch.Generator().manual_seed(seed * 100_000 + step)
        puzzle = make_puzzle(batch.frames, batch.counts, network.config, generator=draws)
        return network.losses(network(puzzle.frames), puzzle)

    return losses


def _slots(net: HSJPNet, data: Kept) -> float:
    """Share of live patches whose slot is found, on new puzzles of the same crops."""
    accuracies = []
    with torch.inference_mode():
        for begin in range(0, 512, 64):
            batch = data.batch(torch.arange(begin, begin + 64))
            draws = torch.Generator().manual_seed(9_000_000 + begin)
            puzzle = make_puzzle(batch.frames, batch.counts, net.config, generator=draws)
            accuracies.append(float(net.accuracy(net(puzzle.frames), puzzle)))
    return float(np.mean(accuracies))


def part_swahr(args: argparse.Namespace) -> dict[str, Any]:
    """MSE, SAHR, WAHR and both, from a common start trained with MSE; people of very different sizes."""
    steps, batch = round(500 * args.scale), 8
    samples = CrowdSamples(192, 256, zoom=(0.6, 1.6))
    data = Kept.of(samples.open(args.data / "crowd_train", 2400, 1), 2400, "crowds")
    val = Kept.of(
        CrowdSamples(192, 256, augment=False).open(args.data / "crowd_val", 300, 2), 300, "validation"
    )
    begin = load_network(args.weights / "swahr")[0]
    assert isinstance(begin, SWAHRNet)
    rows = {"common start": _crowd_scores(begin, val)}
    print(f"  common start: AP {rows['common start']['ap']:.3f}", flush=True)
    alphas: dict[str, Any] = {}
    for arm in ("mse", "sahr", "wahr", "swahr"):
        torch.manual_seed(1)
        net = SWAHRNet(_swahr_config(arm))
        net.load_state_dict({**net.state_dict(), **begin.state_dict()})
        told = train(net, data, _crowd_losses, steps=steps, batch_size=batch, seed=2, lr=3e-4)
        rows[arm] = _crowd_scores(net, val) | {"seconds": told.seconds}
        if net.scales:
            alphas[arm] = _alpha(net, val)
        print(
            f"  {arm}: AP {rows[arm]['ap']:.3f}, AP50 {rows[arm]['ap50']:.3f}, {told.seconds:.0f} s",
            flush=True,
        )
    return {"steps": steps, "batch": batch, "seeds": 1, "rows": rows, "alpha": alphas,
            "foreground": _foreground(val)}  # fmt: skip


def _swahr_config(arm: str) -> SWAHRConfig:
    return SWAHRConfig(
        width=WIDTH, loss=AdaptiveOptions(sahr=arm in ("sahr", "swahr"), wahr=arm in ("wahr", "swahr"))
    )


def _crowd_losses(network: nn.Module, batch: CrowdSample, step: int) -> dict[str, Tensor]:
    assert isinstance(network, SWAHRNet)
    return network.losses(network(batch.frames), batch.labels)


def _crowd_scores(net: SWAHRNet, val: Kept) -> dict[str, float]:
    """AP over all people, and over the smaller and larger half by area."""
    found, true = [], []
    net.eval()
    for begin in range(0, len(val), 16):
        batch = val.batch(torch.arange(begin, min(begin + 16, len(val))))
        found += net.people(batch.frames, flip=False)
        for uv, known, box in zip(batch.uv.numpy(), batch.known.numpy(), batch.boxes.numpy(), strict=True):
            there = known.any(1)
            area = np.prod(np.maximum(box[there, 2:] - box[there, :2], 1), axis=-1)
            true.append(TruePeople(uv[there], known[there], area))
    middle = float(np.median(np.concatenate([t.area for t in true])))
    scores = average_precision(found, true)
    small = average_precision(found, true, area=(0.0, middle))["ap"]
    large = average_precision(found, true, area=(middle, np.inf))["ap"]
    return scores | {"ap_small": small, "ap_large": large}


def _alpha(net: SWAHRNet, val: Kept) -> dict[str, float]:
    """Learned scale at the joints: its mean and spread, and its rank correlation with the person's size."""
    from scipy.stats import spearmanr

    values, sizes = [], []
    with torch.inference_mode():
        for begin in range(0, len(val), 16):
            batch = val.batch(torch.arange(begin, min(begin + 16, len(val))))
            alpha = net(batch.frames)["scale2"].float()
            at = (batch.uv / 2).long()
            H, W = alpha.shape[-2:]
            known = batch.known & (batch.uv >= 0).all(-1) & (at[..., 0] < W) & (at[..., 1] < H)
            b, m, j = known.nonzero(as_tuple=True)
            values.append(alpha[b, j, at[b, m, j, 1], at[b, m, j, 0]])
            box = batch.boxes[b, m]
            sizes.append((box[:, 2:] - box[:, :2]).amax(-1))
    alpha, size = torch.cat(values).numpy(), torch.cat(sizes).numpy()
    rho = float(spearmanr(alpha, size).statistic) if np.ptp(alpha) > 0 else 0.0
    return {"mean": float(alpha.mean()), "std": float(alpha.std()), "rho_size": rho}


def _foreground(val: Kept) -> float:
    """Share of the stride-2 map above 0, averaged over joints and images."""
    from eventhpe.shapenet.heads.swahr_targets import people_heatmaps

    batch = val.batch(torch.arange(64))
    heat = people_heatmaps(batch.uv, batch.known, stride=2, size=(96, 128), sigma=2.0, subcell=False)
    return float((heat > 0).float().mean())


def part_hemlets(args: argparse.Namespace) -> dict[str, Any]:
    """HEMlets against the volumetric baseline, with and without weakly labelled poses; one seed."""
    size, steps, batch = 128, round(600 * args.scale), 16
    below = load_network(args.weights / "simdr")[0]
    assert isinstance(below, PoseNet)
    data = Kept.of(
        training_samples(size, weak_share=0.7).open(args.data / "pose_train", 4000, 1),
        4000,
        "30 % with depth",
    )
    val = Kept.of(
        validation_samples(size).open(args.data / "pose_val", 500, 2),
        500,
        "validation",
    )
    deep = torch.nonzero(data.rest.known3d.any(1))[:, 0]
    labelled = Kept(data.frames[deep], type(data.rest)(*(v[deep] for v in data.rest)))
    small = {"width": CHANNELS / 256}
    arms = {
        "volumetric": ("volumetric", small, labelled),
        "volumetric, 2D maps": ("volumetric", small | {"maps2d": True}, labelled),
        "hemlets": ("hemlets", small, labelled),
        "hemlets, weak labels": ("hemlets", small, data),
    }
    rows = {}
    for name, (head, options, what) in arms.items():
        torch.manual_seed(1)
        net = PoseNet(pose_config(head, size, **options))
        net.encoder.load_state_dict(below.encoder.state_dict())
        told = train(net, what, head_losses, steps=steps, batch_size=batch, seed=1)
        rows[name] = _errors_3d(net, val) | {"seconds": told.seconds, "samples": len(what)}
        line = ", ".join(f"{k} {v:.1f}" for k, v in rows[name].items() if k.endswith("mm"))
        print(f"  {name}: {line}, {told.seconds:.0f} s", flush=True)
    return {"steps": steps, "batch": batch, "seeds": 1, "rows": rows, "constant": _constant_3d(val)}


def _errors_3d(net: PoseNet, val: Kept) -> dict[str, float]:
    """Root-relative and aligned errors at the true root depth, depth error, pixels, order accuracy."""
    found = maps_of(net, val)
    truth = joined([batch for batch, _ in found])
    decoded = [net.head.decode(maps) for _, maps in found]
    uv, depth = (
        torch.cat([d.uv for d in decoded]),
        torch.cat([d.depth for d in decoded if d.depth is not None]),
    )
    scores = scores_3d(uv, depth, truth, net.skeleton) | {"px": errors_2d(uv, truth)["px"]}
    if isinstance(net.head, HEMletsHead):
        predicted = torch.cat([net.head.predicted_order(maps) for _, maps in found])
        own, constant = order_accuracy(predicted, truth.order, truth.order_known)
        scores |= {"order": own, "order_constant": constant}
    return scores


def scores_3d(uv: Tensor, depth: Tensor, truth: PoseSample, skeleton: Skeleton) -> dict[str, float]:
    """mm, over poses whose joints are all known."""
    whole = truth.known3d.all(1)
    K = crop_to_intrinsics(truth.crop.double(), truth.frames.shape[-1])
    xyz = lift(uv.double(), depth.double(), truth.root[:, 2].double(), K)
    root = skeleton.parents.index(-1)
    xyz = (xyz - xyz[:, root, None])[whole].numpy()
    true = truth.xyz[whole].double().numpy()
    return {
        "root_aligned_mm": 1000 * float(np.linalg.norm(xyz - true, axis=-1).mean()),
        "pa_mm": float(pa_mpjpe(xyz, true).mean()),
        "depth_mm": 1000 * float(np.abs(xyz[..., 2] - true[..., 2]).mean()),
    }


def _constant_3d(val: Kept) -> dict[str, float]:
    truth = val.batch(torch.arange(len(val)))
    true = truth.xyz[truth.known3d.all(1)].double().numpy()
    mean = np.broadcast_to(true.mean(0), true.shape)
    return {
        "root_aligned_mm": 1000 * float(np.linalg.norm(mean - true, axis=-1).mean()),
        "pa_mm": float(pa_mpjpe(mean, true).mean()),
        "depth_mm": 1000 * float(np.abs(mean[..., 2] - true[..., 2]).mean()),
    }


def part_posh(args: argparse.Namespace) -> dict[str, Any]:
    """Body from joints and part features, from joints alone, from pooled features; one HEMlets, one seed."""
    steps, batch = round(400 * args.scale), 24
    whole = load_network(args.weights / "posh")[0]
    assert isinstance(whole, PoShNet)
    below = whole.hemlets()
    size = below.config.size
    data = Kept.of(
        training_samples(size, skeleton="smpl24").open(args.data / "pose_train", 4000, 1),
        4000,
        "bodies",
    )
    val = Kept.of(
        validation_samples(size, skeleton="smpl24").open(args.data / "pose_val", 500, 2),
        500,
        "validation",
    )
    body = open_body()
    joints_of = body_joints(body, SMPL_SKELETON)

    def losses(network: nn.Module, sample: PoseSample, step: int) -> dict[str, Tensor]:
        assert isinstance(network, PoShNet)
        output = network(sample.frames, sample.crop)
        return posh_losses(network, output, posh_labels(sample), crop=sample.crop, joints_of=joints_of)

    rows = {}
    for inputs in ("full", "joints", "pooled"):
        torch.manual_seed(1)
        net = PoShNet(PoShConfig(hemlets=below.config, inputs=inputs))
        net.set_body(body.J_template[0], body.J_shapedirs[0])
        net.start_from(below)
        # Pooled features see no HEMlets, so their encoder has to learn in the same steps.
        net.set_stage("C" if inputs == "pooled" else "B")
        told = train(net, data, losses, steps=steps, batch_size=batch, seed=1)
        rows[inputs] = _body_errors(net, val, joints_of) | {"seconds": told.seconds}
        print(f"  {inputs}: " + ", ".join(f"{k} {v:.2f}" for k, v in rows[inputs].items()), flush=True)
    return {"size": size, "steps": steps, "batch": batch, "seeds": 1, "rows": rows}


def _body_errors(net: PoShNet, val: Kept, joints_of: Callable[..., Tensor]) -> dict[str, float]:
    found, true, turns, twists, swings, betas = [], [], [], [], [], []
    rest = open_body().J_template
    with torch.inference_mode():
        for begin in range(0, len(val), 64):
            sample = val.batch(torch.arange(begin, min(begin + 64, len(val))))
            out = net(sample.frames, sample.crop)
            for store, body in (
                (found, (out.rotmats, out.betas, out.transl)),
                (true, (sample.rotmats, sample.betas, sample.transl)),
            ):
                joints = joints_of(*body)
                store.append((joints - joints[:, :1]).double().numpy())
            trace = torch.einsum("bjik,bjik->bj", out.rotmats, sample.rotmats)
            turns.append(torch.rad2deg(torch.acos(((trace - 1) / 2).clamp(-1, 1))))
            error = twist_error(out.rotmats, sample.rotmats, skeleton=SMPL_SKELETON, rest=rest)
            twists.append(error.twist)
            swings.append(error.swing)
            betas.append((out.betas - sample.betas).abs().mean(-1))
    a, b = np.concatenate(found), np.concatenate(true)
    return {
        "root_aligned_mm": 1000 * float(np.linalg.norm(a - b, axis=-1).mean()),
        "pa_mm": float(pa_mpjpe(a, b).mean()),
        "rotation_deg": float(torch.cat(turns).mean()),
        "twist_deg": float(torch.rad2deg(torch.cat(twists)).mean()),
        "swing_deg": float(torch.rad2deg(torch.cat(swings)).mean()),
        "betas": float(torch.cat(betas).mean()),
    }


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "simdr": part_simdr, "hsjp": part_hsjp, "swahr": part_swahr, "hemlets": part_hemlets, "posh": part_posh,
}  # fmt: skip


def tables(result: dict[str, Any]) -> str:
    """Markdown of what was measured."""
    lines: list[str] = []
    for size, part in result.get("simdr", {}).items():
        if isinstance(part, dict) and "rows" in part:
            head = f"{size}, {part['steps']} steps of {part['batch']}"
            keys = {"px": "mean px", "median_px": "median px", "pck05": "PCK@.05", "pck02": "PCK@.02"}
            lines += [*_table(head, part["rows"], keys), ""]
    if part := result.get("hsjp"):
        head = f"slots {np.mean(part['slot_accuracy']):.2f} (chance {part['chance']:.2f})"
        lines += [*_table(head, part["rows"], {"pck10": "PCK@.10", "pck05": "PCK@.05", "px": "mean px"}), ""]
    if part := result.get("swahr"):
        keys = {"ap": "AP", "ap50": "AP50", "ap_small": "AP small", "ap_large": "AP large"}
        lines += [*_table(f"{part['steps']} steps of {part['batch']}", part["rows"], keys, factor=100), ""]
        lines += [f"{arm}: scale {values}" for arm, values in part["alpha"].items()] + [""]
    for name in ("hemlets", "posh"):
        if part := result.get(name):
            rows = part["rows"] | ({"constant": part["constant"]} if "constant" in part else {})
            keys = {k: k.replace("_", " ") for k in next(iter(part["rows"].values())) if k not in _NOT_SHOWN}
            if name == "hemlets":
                keys |= {"order": "order right", "order_constant": "best constant"}
            lines += [*_table(f"{part['steps']} steps of {part['batch']}", rows, keys), ""]
    return "\n".join(lines)


_NOT_SHOWN = ("seconds", "samples")


def _table(
    head: str, rows: dict[str, dict[str, Any]], keys: dict[str, str], factor: float = 1.0
) -> list[str]:
    lines = [f"| {head} | " + " | ".join(keys.values()) + " |", "|---" + "|--:" * len(keys) + "|"]
    for name, row in rows.items():
        cells = []
        for key in keys:
            value = row.get(key)
            if value is None:
                cells.append("")
            elif isinstance(value, dict):
                seeds = ", ".join(f"{factor * v:.1f}" for v in value["seeds"])
                spread = f" ({seeds})" if len(value["seeds"]) > 1 else ""
                cells.append(f"{factor * value['mean']:.2f}{spread}")
            else:
                cells.append(f"{factor * value:.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="none: tables only")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all numbers of steps")
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="folder of swahr, simdr and posh")
    parser.add_argument("-o", "--output", type=Path, default=timing.RESULTS / "pose_heads.json")
    args = parser.parse_args()
    for name in args.parts:
        print(name, flush=True)
        began, cpu = time.monotonic(), time.process_time()
        part = PARTS[name](args)
        minutes = {"wall": (time.monotonic() - began) / 60, "cpu": (time.process_time() - cpu) / 60}
        facts = {"machine": timing.machine(), "threads": torch.get_num_threads(), "scale": args.scale}
        result = json.loads(args.output.read_text()) if args.output.is_file() else {}
        result[name] = part | facts | {"minutes": {k: round(v, 1) for k, v in minutes.items()}}
        args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {minutes['wall']:.1f} min, {minutes['cpu']:.1f} min of CPU", flush=True)
    if args.output.is_file():
        print(tables(json.loads(args.output.read_text())))


if __name__ == "__main__":
    main()
