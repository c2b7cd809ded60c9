"""Names of event cameras and their sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from eventhpe.errors import FormatError


@dataclass(frozen=True)
class Sensor:
    """A sensor: its name, (H, W), and the address layout that AEDAT 1 and 2 files use for it ("" if none).

    With `cameras` > 1 it stands for several of them on one clock in one file.
    """

    name: str
    size: tuple[int, int]
    aedat2_layout: str = ""
    cameras: int = 1


_SENSORS = (
    Sensor("DVS128", (128, 128), "dvs128"),
    Sensor("tmpdiff128", (128, 128), "dvs128"),
    Sensor("DAVIS128", (128, 128), "davis"),
    Sensor("DAVIS208", (192, 208), "davis"),
    Sensor("DAVIS240", (180, 240), "davis"),
    Sensor("DAVIS346", (260, 346), "davis"),
    Sensor("DAVIS640", (480, 640), "davis"),
    Sensor("DVS640", (480, 640), "dvs640"),
    # The DHP19 data set is of this kind.
    Sensor("MultiDAVIS346", (260, 346), "davis", cameras=4),
    Sensor("MultiDAVIS240", (180, 240), "davis", cameras=4),
    Sensor("MultiDVS128", (128, 128), "dvs128", cameras=4),
    Sensor("StereoDAVIS346", (260, 346), "davis", cameras=2),
    Sensor("StereoDAVIS240", (180, 240), "davis", cameras=2),
    Sensor("DVXplorerLite", (240, 320)),
    Sensor("DVXplorer", (480, 640)),
    Sensor("Gen3", (480, 640)),
    Sensor("Gen4", (720, 1280)),
    Sensor("IMX636", (720, 1280)),
)

AEDAT2_SENSORS = tuple(s.name for s in _SENSORS if s.aedat2_layout)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_NAME = {_plain(s.name): s for s in _SENSORS}

# Start of a jAER chip class (last part of the Java name) or of a camera name in AEDAT 3 -> sensor.
_CHIP_PREFIXES = (
    ("multidavis346", "MultiDAVIS346"),
    ("multidavis240", "MultiDAVIS240"),
    ("multidvs128", "MultiDVS128"),
    ("dvs128", "DVS128"),
    ("tmpdiff128", "tmpdiff128"),
    ("davis128", "DAVIS128"),
    ("davis208", "DAVIS208"),
    ("davis240", "DAVIS240"),
    ("sbret10", "DAVIS240"),
    ("sbret20", "DAVIS240"),
    ("davis346", "DAVIS346"),
    ("davisrgb", "DAVIS640"),
    ("davishet640", "DAVIS640"),
    ("davis640", "DAVIS640"),
    ("dvs640", "DVS640"),
)


def sensor_by_name(name: str) -> Sensor:
    """A sensor from its name ("DAVIS346", any case) or from "WIDTHxHEIGHT"."""
    match = re.fullmatch(r"\s*(\d{1,5})\s*[xX]\s*(\d{1,5})\s*", name)
    if match:
        width, height = int(match[1]), int(match[2])
        if not (0 < width <= 65535 and 0 < height <= 65535):
            raise FormatError(f"sensor {name!r}: width and height must be 1..65535.")
        return Sensor(f"{width}x{height}", (height, width))
    sensor = _BY_NAME.get(_plain(name))
    if sensor is None:
        raise FormatError(
            f"unknown sensor {name!r}. Choose one of {', '.join(s.name for s in _SENSORS)}, or WIDTHxHEIGHT."
        )
    return sensor


def sensor_of_chip(java_class: str) -> Sensor | None:
    """The sensor of an `# AEChip:` line (AEDAT 2) or a `#Source` line (AEDAT 3), None if it is not known."""
    chip = _plain(java_class.strip().rsplit(".", 1)[-1])
    for prefix, name in _CHIP_PREFIXES:
        if chip.startswith(prefix):
            return _BY_NAME[_plain(name)]
    return None
