"""Human motion from event cameras: events come in, bodies leave.

Every public name below loads its module on first use, so `import eventhpe` itself is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventhpe.body.motion import MotionClip as MotionClip
    from eventhpe.body.params import BodyParams as BodyParams
    from eventhpe.errors import EventHPEError as EventHPEError
    from eventhpe.events.open import open_recording
    from eventhpe.events.types import Events as Events
    from eventhpe.geometry.camera import Camera as Camera
    from eventhpe.geometry.flowfield import FlowField as FlowField
    from eventhpe.geometry.skeleton import Keypoints as Keypoints
    from eventhpe.geometry.skeleton import Skeleton as Skeleton

    open = open_recording

__version__ = "0.1.0"

_HOMES = {
    "BodyParams": "eventhpe.body.params:BodyParams",
    "Camera": "eventhpe.geometry.camera:Camera",
    "EventHPEError": "eventhpe.errors:EventHPEError",
    "Events": "eventhpe.events.types:Events",
    "FlowField": "eventhpe.geometry.flowfield:FlowField",
    "Keypoints": "eventhpe.geometry.skeleton:Keypoints",
    "MotionClip": "eventhpe.body.motion:MotionClip",
    "Skeleton": "eventhpe.geometry.skeleton:Skeleton",
    "open": "eventhpe.events.open:open_recording",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    try:
        module, attribute = _HOMES[name].split(":")
    except KeyError:
        raise AttributeError(f"module 'eventhpe' has no attribute {name!r}") from None
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
