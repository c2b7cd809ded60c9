"""Voxel grids of consecutive windows in a torch tensor."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.types import Events
from eventhpe.events.voxel import voxelize_windows
from eventhpe.events.voxel_batch import voxel_batch
from tests.events import grid_twins

SIZE = (5, 7)
EDGES = [0, 300, 310, 700, 1_000]


def random_events(n: int, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    columns = (rng.integers(0, most, n) for most in (SIZE[1], SIZE[0], 2))
    return Events.from_columns(np.sort(rng.integers(0, 1_000, n)), *columns, SIZE)


def test_windows_equal_the_slow_twin() -> None:
    events = random_events(400)
    batch = voxel_batch(events, 3, edges_us=EDGES)
    assert batch.shape == (4, 3, *SIZE) and batch.dtype == torch.float32
    assert np.array_equal(batch.numpy(), voxelize_windows(events, 3, edges_us=EDGES))
    for k in range(4):
        t0, t1 = EDGES[k], EDGES[k + 1]
        np.testing.assert_allclose(
            batch[k].numpy(), grid_twins.voxel(events.between(t0, t1), 3, t0, t1), atol=1e-4
        )


def test_a_given_tensor_is_cleared_and_filled_in_place() -> None:
    out = torch.full((4, 3, *SIZE), float("nan"))
    address = out.data_ptr()
    assert voxel_batch(random_events(400), 3, edges_us=EDGES, out=out) is out and out.data_ptr() == address
    assert torch.equal(out, voxel_batch(random_events(400), 3, edges_us=EDGES))
    assert not voxel_batch(Events.empty(SIZE), 3, edges_us=EDGES, out=out).any()


def test_a_part_of_a_larger_batch_can_be_filled() -> None:
    batch = torch.zeros(2, 4, 3, *SIZE)
    voxel_batch(random_events(400), 3, edges_us=EDGES, out=batch[1])
    assert not batch[0].any() and torch.equal(batch[1], voxel_batch(random_events(400), 3, edges_us=EDGES))


@pytest.mark.parametrize(
    "out",
    [
        torch.zeros(4, 3, 5, 8),
        torch.zeros(4, 3, *SIZE, dtype=torch.float64),
        torch.zeros(4, 3, *SIZE, requires_grad=True),
        torch.zeros(3, 4, *SIZE).transpose(0, 1),
        torch.zeros(4, 3, *SIZE, device="meta"),
    ],
)
def test_tensors_that_do_not_fit(out: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match="out must be"):
        voxel_batch(random_events(10), 3, edges_us=EDGES, out=out)


def test_edges_and_bins_are_checked() -> None:
    with pytest.raises(UnitError, match="increase"):
        voxel_batch(random_events(10), 3, edges_us=[0, 0, 1_000])
    with pytest.raises(ShapeError, match="edges_us"):
        voxel_batch(random_events(10), 3, edges_us=[])
    with pytest.raises(ShapeError, match="num_bins"):
        voxel_batch(random_events(10), 0, edges_us=EDGES)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_pinning_without_cuda_gives_ordinary_memory() -> None:
    assert not voxel_batch(random_events(10), 3, edges_us=EDGES, pin=True).is_pinned()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pinned_memory_reaches_the_device() -> None:
    batch = voxel_batch(random_events(400), 3, edges_us=EDGES, pin=True)
    assert batch.is_pinned()
    assert torch.equal(
        batch.to("cuda", non_blocking=True).cpu(), voxel_batch(random_events(400), 3, edges_us=EDGES)
    )


def test_importing_the_module_does_not_import_torch() -> None:
    code = "import sys, eventhpe.events.voxel_batch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
