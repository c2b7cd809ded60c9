"""A world small enough for tests: two short labelled recordings and small random networks.

Import the fixtures where they are needed; whatever the number of importers, everything is made once per run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.body.posing import BodyPoser
from eventhpe.body.wardrobe import WardrobeRanges
from eventhpe.capture import Networks
from eventhpe.data.generator import Choice, Generator, GeneratorConfig
from eventhpe.data.labels import Labels, read_labels
from eventhpe.data.motion_style import StyleRanges
from eventhpe.data.presets import CLEAN
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events
from eventhpe.flownet.network import FlowNet, FlowNetConfig
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import ShapeNetConfig
from eventhpe.weights.files import WeightsCard, save_network

DURATION_S = 0.6
NUM_WINDOWS = 12
SENSOR = (128, 128)
FLOW = FlowNetConfig(base_width=4)
SHAPE = ShapeNetConfig(size=64, width=8, grid=2, hidden=32, crop_features=4)
RANGES = replace(
    CLEAN, sensor_sizes=(SENSOR,), body_fraction=(0.7, 0.8), facing_share=1.0, facing_deg=(-20.0, 20.0),
    threshold=(0.2, 0.25), mismatch_sigma=(0.01, 0.05), refractory_us=(0.0, 1000.0), leak_hz=(0.0, 0.2),
    shot_hz=(0.05, 0.1), empty_share=0.0, background_contrast=(0.05, 0.1),
)  # fmt: skip
CONFIG = GeneratorConfig(
    duration_s=DURATION_S,
    ranges=RANGES,
    style=StyleRanges(speed=(1.0, 1.0), mirrored_share=0.0, pause_share=0.0),
    wardrobe=WardrobeRanges(pattern_contrast=(0.5, 0.8), pattern_weights=(("noise", 1.0), ("plaid", 1.0))),
)

_MADE: dict[str, Path] = {}


def _once(name: str, factory: pytest.TempPathFactory, make: Callable[[Path], None]) -> Path:
    if name not in _MADE:
        folder = factory.mktemp(name)
        make(folder)
        _MADE[name] = folder
    return _MADE[name]


def _make_recordings(folder: Path) -> None:
    generator = Generator(CONFIG)
    for index, movement in enumerate(("jumping_jack", "squat")):
        generator.make(folder / f"{movement}.h5", seed=5, index=index, choice=Choice(movement=movement))


def random_flownet(config: FlowNetConfig = FLOW, *, seed: int = 0) -> FlowNet:
    """A FlowNet whose flows are of the order of pixels."""
    torch.manual_seed(seed)
    network = FlowNet(config)
    with torch.no_grad():
        for head in network.heads:
            head.conv.weight.normal_(std=0.05)
        for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.momentum = 1.0  # statistics of the one pass below
        network(torch.rand(2, config.in_channels, 64, 64).pow(8))
    return network.eval()


def random_shapenet(config: ShapeNetConfig = SHAPE, *, seed: int = 0) -> ShapeNet:
    """A ShapeNet with the open body's rest pelvis, whose poses, shapes and places differ between windows."""
    torch.manual_seed(seed)
    network = ShapeNet(config)
    body = open_body()
    network.set_body(body.J_template[0], body.J_shapedirs[0])
    with torch.no_grad():
        for head in (network.absolute, network.delta):
            for linear in (m for m in head.modules() if isinstance(m, torch.nn.Linear)):
                linear.weight.normal_(std=0.02)
    return network.eval()


def _make_networks(folder: Path) -> None:
    for name, network in (
        ("flownet", random_flownet()),
        ("flownet-parity", random_flownet(replace(FLOW, variant="parity"))),
        ("shapenet", random_shapenet()),
        ("shapenet-noflow", random_shapenet(replace(SHAPE, use_flow=False))),
    ):
        kind = "binary" if name.endswith("parity") else "counts"
        card = WeightsCard(system="", config={}, data={"training": {"steps_done": 0, "input_kind": kind}})
        save_network(folder / name, network, card)


def noise_recording(*, num_events: int, duration_us: int, seed: int = 0) -> Recording:
    """Events scattered over the whole sensor: nobody is there."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, duration_us, num_events))
    t[-1] = duration_us - 1
    x, y = rng.integers(0, SENSOR[1], num_events), rng.integers(0, SENSOR[0], num_events)
    events = Events.from_columns(t, x, y, rng.integers(0, 2, num_events), SENSOR)
    return Recording.from_events(events, source="noise.h5")


def copy_without(source: Path, target: Path, *groups: str) -> Path:
    """A copy of a recording that lacks some groups."""
    with h5py.File(source, "r", locking=False) as a, h5py.File(target, "w") as b:
        for name, value in a.attrs.items():
            b.attrs[name] = value
        for name in a:
            a.copy(name, b)
        for name in groups:
            del b[name]
    return target


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `jumping_jack.h5` and `squat.h5`, 0.6 s each, with gray frames, flow and body labels."""
    return _once("recordings", tmp_path_factory, _make_recordings)


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with weights `flownet`, `flownet-parity`, `shapenet` and `shapenet-noflow`, all random."""
    return _once("networks", tmp_path_factory, _make_networks)


@pytest.fixture(scope="session")
def poser() -> BodyPoser:
    """Of the open body."""
    return BodyPoser(open_body())


@pytest.fixture(scope="session")
def loaded(networks: Path) -> Networks:
    """The small networks, as captures take them."""
    return Networks.load(str(networks / "shapenet"), str(networks / "flownet"))


@pytest.fixture(scope="module")
def recording(recordings: Path) -> Iterator[Recording]:
    with open_recording(recordings / "jumping_jack.h5") as opened:
        yield opened


@pytest.fixture(scope="session")
def labels(recordings: Path) -> Labels:
    return read_labels(recordings / "jumping_jack.h5")
