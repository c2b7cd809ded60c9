"""Optimiser and learning-rate schedule shared by all systems."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


def adamw_with_cosine(
    network: nn.Module, *, lr: float, steps: int, weight_decay: float = 1e-2
) -> dict[str, Any]:
    """AdamW; linear warm-up over 5 % of the steps, cosine decay to 1 %; biases and norms do not decay."""
    decay = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}], lr=lr
    )
    warm = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        progress = min(1.0, (step - warm) / max(1, steps - warm))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
