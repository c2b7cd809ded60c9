"""What the readers of ROS 1 and ROS 2 bags have in common: topics, and messages in recording order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

#: Where a message lies in its bag: three integers whose meaning is the bag's.
Place = tuple[int, int, int]


@dataclass(frozen=True)
class Topic:
    """A topic: its name, the type in ROS 1 spelling, and how many messages the bag says it has."""

    name: str
    type: str
    messages: int


class Message(NamedTuple):
    """One message: index of its topic (-1: one the bag does not name), and bytes valid until the next."""

    place: Place
    topic: int
    data: memoryview


class Loss(NamedTuple):
    """Something between messages that cannot be read: "`number` `phrase`"."""

    place: Place
    phrase: str
    number: int


class Bag(ABC):
    """Messages of a bag in recording order, from any of them on.

    Attributes:
        ros2: messages are in CDR.
        topics: all topics.
        start: the place of the first message.
        remarks: what the user should know about the bag as a whole.
    """

    ros2: bool
    topics: tuple[Topic, ...]
    start: Place
    remarks: tuple[str, ...] = ()

    @abstractmethod
    def walk(self, place: Place, wanted: frozenset[int]) -> Iterator[Message | Loss]:
        """From `place` on; messages of topics that are not wanted may be left out."""

    @abstractmethod
    def place_of_first(self, topic: int) -> Place:
        """A place at or before the first message of the topic, near it if the bag tells."""

    @abstractmethod
    def progress(self, place: Place) -> float:
        """Share of the bag before the place, 0..1, roughly."""

    def close(self) -> None:  # noqa: B027  (not every bag keeps something open)
        """Release what is kept open."""


def plain_type(name: str) -> str:
    """ROS 2 type names as in ROS 1: "sensor_msgs/msg/Image" -> "sensor_msgs/Image"."""
    return name.replace("/msg/", "/")
