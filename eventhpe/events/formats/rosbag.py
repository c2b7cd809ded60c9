"""ROS 1 and ROS 2 bags: events of dvs_msgs, prophesee_event_msgs and event_camera_msgs, gray frames, IMU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS, BlockReader, Checkpoint, Columns, Frame, Side
from eventhpe.events.formats import ros_messages as ros
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.ros_bag import Bag, Loss, Message, Place
from eventhpe.events.formats.rosbag1_records import Bag1
from eventhpe.events.formats.rosbag2_storage import Bag2
from eventhpe.events.formats.sensors import sensor_by_name

_TRIES = 20
_MAX_STREAMS = 256  # their numbers are uint8


class _Live:
    """A walk that stands before one message, so that the next block goes on without a new start."""

    def __init__(self, bag: Bag, place: Place, wanted: frozenset[int]) -> None:
        self.pid = os.getpid()
        self._walk = bag.walk(place, wanted)
        self.place = place
        self.next: Message | Loss | None = None
        self.advance()
        self.place = place

    def advance(self) -> None:
        self.next = next(self._walk, None)
        if self.next is not None:
            self.place = self.next.place


class RosbagReader(BlockReader):
    """Events of all event topics of a bag, in recording order; a stream is a topic.

    A checkpoint is the place of a message, the number of its units that are already decoded, and the decoder
    state of every stream.

    Raises:
        FormatError: no bag, a damaged one of which nothing can be read, or one without events.
    """

    def __init__(self, path: Path, bag: Bag, name: str, sensor: str | None) -> None:
        self.path = path
        self.format = name
        self._bag = bag
        events = [k for k, t in enumerate(bag.topics) if t.type in ros.EVENT_TYPES]
        if not events:
            found = ", ".join(sorted({f"{t.name} ({t.type})" for t in bag.topics})) or "no topic at all"
            raise FormatError(
                f"{path}: the bag has no topic with events of a type that is read "
                f"({', '.join(sorted(ros.EVENT_TYPES))}); it has {found}."
            )
        events = ([k for k in events if bag.topics[k].messages] or events)[:_MAX_STREAMS]
        self._camera = {k: camera for camera, k in enumerate(events)}
        self.streams = tuple(bag.topics[k].name for k in events)
        self._images = self._beside(ros.IMAGE_TYPE)
        self._imu = dict(list(self._beside(ros.IMU_TYPE).items())[:1])
        self._wanted = frozenset((*self._camera, *self._images, *self._imu))
        self._live: _Live | None = None
        if sensor is not None:
            self.stream_sizes = (sensor_by_name(sensor).size,) * len(events)
        else:
            self.stream_sizes = tuple(self._size_of(k) for k in events)
        self.sensor_size = self.stream_sizes[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_live": None}

    def _beside(self, kind: str) -> dict[int, int]:
        """Topics of a type -> camera in the same name space; at most one topic per camera."""
        topics = [k for k, t in enumerate(self._bag.topics) if t.type == kind and t.messages]
        found: dict[int, int] = {}
        for camera, stream in enumerate(self.streams):
            here = [k for k in topics if _space(self._bag.topics[k].name) == _space(stream)]
            near = [k for k in here if k not in found]
            if not near and len(topics) == len(self.streams) == 1:
                near = topics
            # A name space may also hold rectified or drawn images.
            near.sort(key=lambda k: ("raw" not in self._bag.topics[k].name, self._bag.topics[k].name))
            if near:
                found[near[0]] = camera
        return found

    def _size_of(self, topic: int) -> tuple[int, int] | None:
        """(H, W) from the first sound message of a topic."""
        tries = 0
        for item in self._bag.walk(self._bag.place_of_first(topic), frozenset({topic})):
            if isinstance(item, Loss) or item.topic != topic:
                continue
            try:
                size = ros.EventMessage.parse(item.data, self._bag.topics[topic].type, self._bag.ros2).size
            except ros.MessageError:
                size = (0, 0)
            if all(0 < n <= 65535 for n in size):
                return size
            tries += 1
            if tries == _TRIES:
                break
        return None

    def first(self) -> Checkpoint:
        return (*self._bag.start, 0, *(ros.START * len(self.streams)))

    def progress(self, at: Checkpoint) -> float:
        return self._bag.progress((at[0], at[1], at[2]))

    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        if at == self.first():
            self._tell(side)
        place = (at[0], at[1], at[2])
        live, self._live = self._live, None
        if live is None or live.place != place or live.pid != os.getpid():
            live = _Live(self._bag, place, self._wanted)
        state = np.array(at[4:], np.int64).reshape(len(self.streams), ros.STATE_SIZE)
        done, n = at[3], 0
        while (item := live.next) is not None:
            if isinstance(item, Loss):
                side.lose(item.phrase, item.number)
            elif item.topic in self._camera:
                n, done = self._events(item, done, state, out, n, side)
                if done >= 0:
                    self._live = live
                    return n, (*item.place, done, *state.ravel().tolist())
                side.elements[f"{self._bag.topics[item.topic].type} messages"] += 1
            else:
                self._other(item, side)
            live.advance()
            done = 0
        return n, None

    def _tell(self, side: Side) -> None:
        """What is known about the bag as a whole."""
        for remark in self._bag.remarks:
            side.say(remark)
        if self._bag.ros2:  # messages of other topics are not even read there
            for k, topic in enumerate(self._bag.topics):
                if k not in self._wanted:
                    side.elements[f"{topic.type} messages"] += topic.messages

    def _events(
        self, message: Message, done: int, state: NDArray[np.int64], out: Columns, n: int, side: Side
    ) -> tuple[int, int]:
        """Decode what has room; returns the events in the block and the units done, -1 for all of them."""
        if n >= BLOCK_EVENTS:
            return n, done
        topic, camera = self._bag.topics[message.topic], self._camera[message.topic]
        try:
            events = ros.EventMessage.parse(message.data, topic.type, self._bag.ros2)
        except ros.UnknownEncodingError as error:
            side.lose(f"messages in the unknown encoding {str(error)!r} skipped", 1)
            return n, -1
        except ros.MessageError:
            side.lose("damaged messages skipped", 1)
            return n, -1
        begin = n
        while done < events.total:
            used, found = events.decode(done, state[camera], out, n, BLOCK_EVENTS, side)
            if not used:
                break
            done += used
            n += found
        if len(self.streams) > 1:
            out.camera[begin:n] = camera
        return n, (done if done < events.total else -1)

    def _other(self, message: Message, side: Side) -> None:
        """Count what is not events; take frames and IMU samples."""
        if message.topic < 0:
            side.lose("messages of topics that the bag does not name skipped", 1)
            return
        topic = self._bag.topics[message.topic]
        side.elements[f"{topic.type} messages"] += 1
        if topic.type in ros.EVENT_TYPES:
            side.lose("event messages of topics that are not read skipped", 1)
        try:
            if message.topic in self._images:
                t = ros.image_time(message.data, self._bag.ros2)
                side.frames.append(Frame(t, (*message.place, message.topic), self._images[message.topic]))
            elif message.topic in self._imu:
                t, accel, gyro = ros.imu_sample(message.data, self._bag.ros2)
                side.add_imu(np.array([t]), accel[None], gyro[None], np.array([np.nan]))
        except ros.MessageError:
            side.lose(f"{topic.type} messages damaged or in an encoding that is not read", 1)

    def load_frame(self, ref: tuple[Any, ...]) -> NDArray[np.uint8]:
        place, topic = (int(ref[0]), int(ref[1]), int(ref[2])), int(ref[3])
        # All wanted topics, as when the place was noted: it counts messages of equal time.
        for item in self._bag.walk(place, self._wanted):
            if isinstance(item, Message) and item.topic == topic and item.place == place:
                try:
                    return ros.image_pixels(item.data, self._bag.ros2)
                except ros.MessageError as error:
                    raise FormatError(f"{self.path}: frame at {place}: {error}.") from error
            break
        raise FormatError(f"{self.path}: there is no frame at {place} any more; the file has changed.")

    def close(self) -> None:
        self._live = None
        self._bag.close()


def _space(topic: str) -> str:
    return topic.rsplit("/", 1)[0]


def open_reader(path: Path, options: OpenOptions) -> RosbagReader:
    """The reader of a bag; `options.format` is rosbag1 or rosbag2."""
    try:
        if options.format == "rosbag1":
            return RosbagReader(path, Bag1(path), "ROS 1 bag", options.sensor)
        return RosbagReader(path, Bag2(path), "ROS 2 bag", options.sensor)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error
