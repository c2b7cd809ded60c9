"""Weight files: `<name>.safetensors` beside a readable card `<name>.json`. Nothing is ever unpickled.

The card says which system the tensors belong to, its sizes, the data, the metrics, the command that trained
it, and the checksum of the tensor file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.flownet.network import FlowNet, FlowNetConfig
from eventhpe.shapenet.heads.pose_net import PoseNet, PoseNetConfig
from eventhpe.shapenet.heads.swahr import SWAHRConfig, SWAHRNet
from eventhpe.shapenet.hsjp import HSJPConfig, HSJPNet
from eventhpe.shapenet.network import build_shapenet
from eventhpe.shapenet.posh import PoShConfig, PoShNet
from eventhpe.shapenet.state import ShapeNetConfig

SCHEMA_VERSION = 1
SHIPPED_MAX_BYTES = 16 * 1024 * 1024
"""Largest tensor file the package itself may carry."""

SHIPPED_WORD = "shipped"
"""What users write instead of a path for the package's own weights."""

_CARD_MAX_BYTES = 1024 * 1024

_BUILDERS: Mapping[str, tuple[Any, Callable[[Any], nn.Module]]] = MappingProxyType(
    {
        "flownet": (FlowNetConfig, FlowNet),
        "shapenet": (ShapeNetConfig, build_shapenet),
        "pose": (PoseNetConfig, PoseNet),
        "posh": (PoShConfig, PoShNet),
        "swahr": (SWAHRConfig, SWAHRNet),
        "hsjp": (HSJPConfig, HSJPNet),
    }
)
"""System on a card -> its config, and what builds the network from it."""


@dataclass(frozen=True)
class WeightsCard:
    """What a weight file is.

    Attributes:
        system: "flownet", "shapenet", "pose" ... or the name of another system's network.
        config: the network's sizes, as its config's `to_json` gives them.
        data: what it was trained on.
        metrics: measured numbers by name.
        command: the command that made it.
        notes: anything a user should know, such as the protocol behind the metrics.
        created_by: package version; filled in on saving.
        sha256: of the tensor file; filled in on saving.
        schema_version: of this card.
    """

    system: str
    config: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    notes: str = ""
    created_by: str = ""
    sha256: str = ""
    schema_version: int = SCHEMA_VERSION


def save_tensors(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    card: WeightsCard,
    *,
    half: bool = False,
    max_bytes: int | None = None,
) -> WeightsCard:
    """Write `<path>.safetensors` and `<path>.json`, each under a temporary name first.

    Args:
        path: with or without the ending `.safetensors`.
        half: store weight matrices and filters as fp16. Vectors (biases, normalisation, running statistics)
            and anything fp16 cannot hold stay fp32.
        max_bytes: refuse to write a larger tensor file; `SHIPPED_MAX_BYTES` for files that go into the
            package.
    Returns:
        The card as written.
    Raises:
        FormatError: the file would be larger than `max_bytes`.
    """
    tensor_path, card_path = _paths(path)
    tensor_path.parent.mkdir(parents=True, exist_ok=True)
    stored = {name: _stored(value, half) for name, value in tensors.items()}
    temporary = tensor_path.with_name(f".{tensor_path.name}.{os.getpid()}.tmp")
    try:
        save_file(
            stored, str(temporary), metadata={"system": card.system, "schema_version": str(SCHEMA_VERSION)}
        )
        size = temporary.stat().st_size
        if max_bytes is not None and size > max_bytes:
            raise FormatError(
                f"{tensor_path.name} would be {size:,} bytes; the limit is {max_bytes:,}. "
                "Store it with half=True or build a smaller network."
            )
        card = replace(card, sha256=_sha256(temporary), created_by=card.created_by or _version())
        temporary.chmod(0o644)  # save_file leaves it readable for its owner only
        os.replace(temporary, tensor_path)
    finally:
        temporary.unlink(missing_ok=True)
    temporary = card_path.with_name(f".{card_path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(asdict(card), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, card_path)
    return card


def read_card(path: str | Path) -> WeightsCard:
    """Read `<path>.json`.

    Raises:
        MissingAssetError: no such card.
        FormatError: it is not a card, or of a newer schema.
    """
    _, card_path = _paths(path)
    if not card_path.is_file():
        raise MissingAssetError(
            f"{card_path}: no weights card there. Weights are a pair of .safetensors and .json files."
        )
    if card_path.stat().st_size > _CARD_MAX_BYTES:
        raise FormatError(
            f"{card_path}: a weights card is a small JSON file; got {card_path.stat().st_size:,} bytes."
        )
    try:
        values = json.loads(card_path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FormatError(f"{card_path}: not a JSON file ({error}).") from error
    if not isinstance(values, dict) or not isinstance(values.get("schema_version"), int):
        raise FormatError(f"{card_path}: not a weights card: schema_version is missing.")
    if values["schema_version"] > SCHEMA_VERSION:
        raise FormatError(
            f"{card_path}: schema version {values['schema_version']}; this package reads "
            f"up to {SCHEMA_VERSION}. Update eventhpe."
        )
    known = {f.name for f in fields(WeightsCard)}
    missing = sorted({"system", "config", "sha256"} - set(values))
    if missing:
        raise FormatError(f"{card_path}: the card lacks {', '.join(missing)}.")
    if not isinstance(values["system"], str) or not isinstance(values["config"], dict):
        raise FormatError(f"{card_path}: expected system as text and config as a mapping.")
    return WeightsCard(**{name: value for name, value in values.items() if name in known})


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], WeightsCard]:
    """Read a pair of files; floating-point tensors come back as fp32.

    Raises:
        MissingAssetError: a file is absent.
        FormatError: the checksum differs from the card's, or the file is damaged.
    """
    card = read_card(path)
    tensor_path, card_path = _paths(path)
    if not tensor_path.is_file():
        raise MissingAssetError(f"{tensor_path}: not there, although its card {card_path.name} is.")
    digest = _sha256(tensor_path)
    if digest != card.sha256:
        raise FormatError(
            f"{tensor_path}: sha256 {digest[:12]}... differs from {card.sha256[:12]}... on its card; "
            "the file is damaged or belongs to another card. Fetch both again."
        )
    try:
        with safe_open(str(tensor_path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise FormatError(f"{tensor_path}: not a safetensors file ({error}).") from error
    return {n: v.float() if v.is_floating_point() else v for n, v in tensors.items()}, card


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], *, where: str = "weights") -> None:
    """Copy tensors into a network, all names and shapes matching.

    Raises:
        FormatError: names differ.
        ShapeError: a shape differs.
    """
    own = network.state_dict()
    missing, extra = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    if missing or extra:
        raise FormatError(
            f"{where}: {len(missing)} tensors missing {missing[:3]}, {len(extra)} unknown {extra[:3]}; "
            "the file belongs to a network of another design or size."
        )
    for name, value in own.items():
        if value.shape != tensors[name].shape:
            raise ShapeError(
                f"{where}: {name} must be {tuple(value.shape)}; got {tuple(tensors[name].shape)}."
            )
    network.load_state_dict(dict(tensors))


def save_network(
    path: str | Path,
    network: nn.Module,
    card: WeightsCard | None = None,
    *,
    half: bool = False,
    max_bytes: int | None = None,
) -> WeightsCard:
    """Save a network that this package trains; the card's `system` and `config` come from the network.

    Raises:
        FormatError: another network.
    """
    config = getattr(network, "config", None)
    system = next((name for name, (kind, _) in _BUILDERS.items() if isinstance(config, kind)), None)
    if system is None or config is None:
        raise FormatError(
            f"save_network knows {', '.join(_BUILDERS)}; got {type(network).__name__}. Use save_tensors."
        )
    card = replace(card or WeightsCard(system=system, config={}), system=system, config=config.to_json())
    return save_tensors(path, network.state_dict(), card, half=half, max_bytes=max_bytes)


def load_network(path: str | Path) -> tuple[nn.Module, WeightsCard]:
    """Build the network named on the card, fill it, and put it into evaluation mode.

    Raises:
        MissingAssetError: a file is absent.
        FormatError, ShapeError: the files do not fit each other or this version.
    """
    tensors, card = load_tensors(path)
    if card.system not in _BUILDERS:
        raise FormatError(f"{path}: system {card.system!r}; load_network builds {', '.join(_BUILDERS)}.")
    kind, build = _BUILDERS[card.system]
    try:
        network = build(kind.from_json(card.config))
    except (TypeError, ValueError, RuntimeError) as error:
        raise FormatError(f"{path}: the card's config builds no {card.system} ({error}).") from error
    load_into(network, tensors, where=str(path))
    return network.eval(), card


def shipped(name: str) -> Path:
    """Path (without ending) of weights inside the package, e.g. `shipped("shapenet")`.

    Raises:
        MissingAssetError: the package carries no weights of that name; lists those it does.
    """
    folder = Path(__file__).parent
    names = shipped_names()
    if name not in names:
        raise MissingAssetError(
            f"no shipped weights named {name!r}; there are: {', '.join(names) or 'none'}."
        )
    return folder / name


def or_shipped(path: str | Path | None, name: str) -> Path | None:
    """A path as it is, but the package's own weights for the word "shipped"; None stays None.

    Raises:
        MissingAssetError: the package carries no weights of that name.
    """
    if path is None:
        return None
    return shipped(name) if str(path) == SHIPPED_WORD else Path(path)


def shipped_names() -> list[str]:
    """Names of the weights inside the package."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.safetensors"))


def _paths(path: str | Path) -> tuple[Path, Path]:
    path = Path(path)
    base = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    return base.with_name(base.name + ".safetensors"), base.with_name(base.name + ".json")


def _stored(value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu().contiguous()
    fits = half and value.dtype == torch.float32 and value.ndim >= 2
    if fits and float(value.abs().max()) < torch.finfo(torch.float16).max:
        return value.half()
    return value.clone()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version() -> str:
    import eventhpe

    return f"eventhpe {getattr(eventhpe, '__version__', 'unknown')}"
