"""Lightning modules of the pose systems: heads on one person's crop, people bottom-up, jigsaws, bodies."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from eventhpe.data.crowd_samples import CrowdSample
from eventhpe.data.jigsaw_samples import JigsawSample
from eventhpe.data.pose_sample import PoseSample
from eventhpe.shapenet.heads.hemlets import HEMletsHead
from eventhpe.shapenet.heads.pose_net import PoseNet, PoseNetConfig
from eventhpe.shapenet.heads.swahr import SWAHRConfig, SWAHRNet
from eventhpe.shapenet.hsjp import HSJPConfig, HSJPNet, make_puzzle
from eventhpe.training.schedule import adamw_with_cosine


class _Module(L.LightningModule):
    """What the modules share: a sum of named terms, and the schedule."""

    network: Any
    lr: float
    steps: int

    def _log_terms(self, terms: dict[str, Tensor], count: int) -> Tensor:
        total = torch.stack(list(terms.values())).sum()
        self.log_dict({f"train/{name}": term for name, term in terms.items()}, batch_size=count)
        self.log("train/total", total, batch_size=count)
        return total

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay."""
        return adamw_with_cosine(self.network, lr=self.lr, steps=self.steps, weight_decay=1e-4)

    def card(self) -> dict[str, Any]:
        """What the weights' card says about this training."""
        return {"lr": self.lr, "steps": self.steps}


class PoseModule(_Module):
    """A head on the encoder.

    Args:
        config: the network.
        lr: peak learning rate.
        steps: length of the schedule.
    """

    def __init__(self, config: PoseNetConfig, *, lr: float, steps: int) -> None:
        super().__init__()
        self.network = PoseNet(config)
        self.lr, self.steps = lr, steps

    def training_step(self, sample: PoseSample, batch_idx: int) -> Tensor:
        """One step on B crops."""
        return self._log_terms(
            self.network.losses(self.network(sample.frames), sample.labels), len(sample.uv)
        )

    def validation_step(self, sample: PoseSample, batch_idx: int) -> None:
        """Mean distance in pixels of the crop over known joints; with depth, its mean error in mm; of HEMlets
        also the share of depth orders that are right."""
        maps = self.network(sample.frames)
        found = self.network.head.decode(maps)
        count = len(sample.uv)
        self.log("val/px", _mean((found.uv - sample.uv).norm(dim=-1), sample.known), batch_size=count)
        if found.depth is not None:
            depth = (found.depth - sample.xyz[..., 2]).abs()
            self.log("val/depth_mm", 1000 * _mean(depth, sample.known3d), batch_size=count)
        if isinstance(self.network.head, HEMletsHead):
            right = self.network.head.predicted_order(maps) == sample.order
            self.log("val/order", _mean(right.float(), sample.order_known), batch_size=count)


class CrowdModule(_Module):
    """People bottom-up: HigherHRNet's losses, with SAHR and WAHR as the network's config says.

    Args:
        config: the network.
        lr: peak learning rate.
        steps: length of the schedule.
    """

    def __init__(self, config: SWAHRConfig, *, lr: float, steps: int) -> None:
        super().__init__()
        self.network = SWAHRNet(config)
        self.lr, self.steps = lr, steps

    def training_step(self, sample: CrowdSample, batch_idx: int) -> Tensor:
        """One step on B images."""
        return self._log_terms(
            self.network.losses(self.network(sample.frames), sample.labels), len(sample.uv)
        )

    def validation_step(self, sample: CrowdSample, batch_idx: int) -> None:
        """The heatmap terms of the loss."""
        terms = self.network.losses(self.network(sample.frames), sample.labels)
        for name in ("heat4", "heat2"):
            self.log(f"val/{name}", terms[name], batch_size=len(sample.uv))


class JigsawModule(_Module):
    """Jigsaw puzzles of unlabelled crops.

    Args:
        config: the network and the puzzle.
        lr: peak learning rate.
        steps: length of the schedule.
        seed: of the permutations; the puzzle of a step depends on it and the step alone.
    """

    def __init__(self, config: HSJPConfig, *, lr: float, steps: int, seed: int = 0) -> None:
        super().__init__()
        self.network = HSJPNet(config)
        self.lr, self.steps, self.seed = lr, steps, seed

    def training_step(self, sample: JigsawSample, batch_idx: int) -> Tensor:
        """One step on B crops."""
        draws = torch.Generator().manual_seed((self.seed << 32) + self.global_step)
        puzzle = make_puzzle(sample.frames, sample.counts, self.network.config, generator=draws)
        maps = self.network(puzzle.frames)
        with torch.no_grad():
            self.log("train/slots", self.network.accuracy(maps, puzzle), batch_size=len(maps))
        return self._log_terms(self.network.losses(maps, puzzle), len(maps))

    def validation_step(self, sample: JigsawSample, batch_idx: int) -> None:
        """Share of live patches whose slot is found; chance is one over their number."""
        draws = torch.Generator().manual_seed(batch_idx)
        puzzle = make_puzzle(sample.frames, sample.counts, self.network.config, generator=draws)
        self.log(
            "val/slots", self.network.accuracy(self.network(puzzle.frames), puzzle), batch_size=len(sample[0])
        )


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values.float() * mask).sum() / mask.sum().clamp(min=1)
