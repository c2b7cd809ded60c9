from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.shapenet.losses import BodyTargets
from eventhpe.shapenet.state import StartState


@pytest.fixture(scope="session")
def body() -> Any:
    spec = importlib.util.spec_from_file_location("fake_body", Path(__file__).with_name("fake_body.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.StickBody()


def random_rotations(*shape: int, angle: float = 0.4, seed: int = 0) -> Tensor:
    rotvec = angle * torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(rotvec_to_rotmat(rotvec.numpy()), dtype=torch.float32)


@pytest.fixture
def rotations() -> Any:
    return random_rotations


@pytest.fixture
def start() -> StartState:
    return StartState(
        rotmats=random_rotations(2, 24, seed=5),
        betas=torch.randn(2, 10, generator=torch.Generator().manual_seed(6)),
        transl=torch.tensor([[0.1, -0.2, 3.0], [-0.4, 0.1, 4.0]]),
    )


@pytest.fixture
def targets(body: Any) -> BodyTargets:
    """Two clips of three windows."""
    rotmats = random_rotations(2, 3, 24, seed=1)
    betas = torch.randn(2, 1, 10, generator=torch.Generator().manual_seed(2)).expand(-1, 3, -1)
    transl = torch.tensor([0.1, -0.1, 3.0]) + 0.1 * torch.arange(3.0)[:, None] * torch.tensor([1.0, 0.5, 0.2])
    transl = transl.expand(2, 3, 3)
    return BodyTargets(
        rotmats=rotmats, betas=betas, transl=transl, joints=body.joints(rotmats, betas, transl)
    )
