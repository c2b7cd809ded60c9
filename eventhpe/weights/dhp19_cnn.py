"""Weights of DHP19's CNN: ours with their card, or the published Keras file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eventhpe.errors import FormatError
from eventhpe.shapenet.heads.dhp19_cnn import DHP19_CNN_SIZE, DHP19CNN, LAYERS
from eventhpe.shapenet.heads.keras_weights import is_keras_file, read_keras_weights
from eventhpe.weights.files import WeightsCard, load_into, load_tensors, save_tensors

DHP19_CNN_SYSTEM = "dhp19_cnn"
"""The system on the card."""

KERAS_ENDINGS = (".model", ".h5", ".hdf5", ".keras")


def save_dhp19_cnn(path: str | Path, network: DHP19CNN, card: WeightsCard) -> WeightsCard:
    """Write `<path>.safetensors` in fp16 and its card, whose `system` and `config` come from the network."""
    config = {
        "input_size": list(DHP19_CNN_SIZE),
        "channels": [layer.outputs for layer in LAYERS],
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    return save_tensors(
        path, network.state_dict(), replace(card, system=DHP19_CNN_SYSTEM, config=config), half=True
    )


def load_dhp19_cnn(path: str | Path) -> tuple[DHP19CNN, WeightsCard]:
    """Build the network, fill it, and put it into evaluation mode.

    Args:
        path: `<name>.safetensors` with its card, or a Keras file such as the published DHP_CNN.model.

    Returns:
        The network and its card; for a Keras file one that says where the weights come from.

    Raises:
        MissingAssetError: a file is absent.
        FormatError, ShapeError: damaged, or of another network.
    """
    path = Path(path)
    network = DHP19CNN()
    if path.suffix in KERAS_ENDINGS or is_keras_file(path):
        network.load_state_dict(read_keras_weights(path))
        card = WeightsCard(
            system=DHP19_CNN_SYSTEM,
            config={},
            notes=f"Read from a Keras file, {path.name}; not trained here.",
        )
        return network.eval(), card
    tensors, card = load_tensors(path)
    if card.system != DHP19_CNN_SYSTEM:
        raise FormatError(f"{path}: weights of {card.system!r}; expected DHP19's CNN ({DHP19_CNN_SYSTEM}).")
    load_into(network, tensors, where=str(path))
    return network.eval(), card
