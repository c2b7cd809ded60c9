"""What other systems do for a capture: SAHR + WAHR finds people, HEMlets PoSh guesses the start pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from eventhpe.data.crops import SquareCrop
from eventhpe.data.windows import WINDOW_US, window_frames
from eventhpe.errors import FormatError
from eventhpe.events.recording import Recording
from eventhpe.find_people import FoundPerson, Progress, find_people, trained_size
from eventhpe.geometry.rotation import rotmat_to_sixd, sixd_to_rotmat
from eventhpe.shapenet.heads.swahr import SWAHRNet
from eventhpe.shapenet.posh import PoShNet
from eventhpe.shapenet.state import StartState
from eventhpe.weights.files import load_network

START_WINDOWS = 3
"""Windows from which HEMlets PoSh guesses the start pose."""


@dataclass(frozen=True)
class CaptureHelpers:
    """Networks of other systems that help a capture.

    Attributes:
        posh: HEMlets PoSh, which guesses the start pose from the first windows.
        people: the SAHR + WAHR network, which finds people; people_size: (H, W) of its input.
        person: whom to capture of several, in order of appearance; None = who is seen best.
    """

    posh: PoShNet | None = None
    people: SWAHRNet | None = None
    people_size: tuple[int, int] = (192, 256)
    person: int | None = None

    @classmethod
    def load(
        cls, posh: str | None = None, people: str | None = None, *, person: int | None = None
    ) -> CaptureHelpers:
        """Load those that are named.

        Raises:
            FormatError: damaged weights, or of another system.
        """
        posh_net = None if posh is None else load_network(posh)[0]
        if posh_net is not None and not isinstance(posh_net, PoShNet):
            raise FormatError(f"{posh}: expected weights of `eventhpe train posh`.")
        if people is None:
            return cls(posh=posh_net, person=person)
        people_net, card = load_network(people)
        if not isinstance(people_net, SWAHRNet):
            raise FormatError(f"{people}: expected weights of `eventhpe train swahr`.")
        return cls(posh_net, people_net, trained_size(card), person)


def found_person(
    recording: Recording, starts: NDArray[np.int64], helpers: CaptureHelpers, progress: Progress
) -> FoundPerson | None:
    """Whom to capture among those that the network finds; None = it finds nobody.

    Raises:
        FormatError: fewer people are found than the number that was asked for.
    """
    assert helpers.people is not None
    found = find_people(recording, starts, helpers.people, helpers.people_size, progress=progress)
    if helpers.person is not None and helpers.person >= len(found):
        wanted = "nobody was found" if not found else f"{len(found)} people were found, no {helpers.person}"
        raise FormatError(
            f"{recording.source}: {wanted} (people are counted from 0). Look at them with `eventhpe pose`, "
            "or take --finder density to follow whatever moves most."
        )
    if helpers.person is not None:
        return found[helpers.person]
    return max(found, key=lambda p: p.score * len(p.window), default=None)


def person_crops(
    who: FoundPerson, num_windows: int
) -> tuple[tuple[SquareCrop, ...], NDArray[np.bool_], NDArray[np.bool_]]:
    """Square crop of every window, whether the person had been found by then, and whether it is found in it.

    Before the first and after the last window in which it is found, the nearest of its boxes counts.
    """
    windows = np.arange(num_windows)
    at = np.clip(windows, who.window[0], who.window[-1]) - who.window[0]
    # Boxes reach beyond the joints already.
    crops = tuple(SquareCrop.around(tuple(who.box[i]), 1.0) for i in at)
    here = (windows >= who.window[0]) & (windows <= who.window[-1])
    return crops, windows >= who.window[0], here


def guess_start(
    recording: Recording,
    starts: NDArray[np.int64],
    crops: Sequence[SquareCrop],
    seen: NDArray[np.bool_],
    rays: NDArray[np.float32],
    network: PoShNet,
) -> StartState:
    """Body at the start by HEMlets PoSh: the mean over the first windows in which the person is seen."""
    chosen = np.flatnonzero(seen)[:START_WINDOWS]
    size = network.config.hemlets.size
    frames = []
    for k in chosen:
        t0 = int(starts[k])
        events = recording.between(t0, t0 + WINDOW_US)
        frames.append(window_frames(events, crops[k], t0_us=t0, t1_us=t0 + WINDOW_US, out_px=size))
    with torch.inference_mode():
        output = network.eval()(torch.from_numpy(np.stack(frames)), torch.from_numpy(rays[chosen]))
        state = output.start_state()
        variance = None if state.variance is None else state.variance[:1] / len(chosen)
        return StartState(
            rotmats=sixd_to_rotmat(rotmat_to_sixd(state.rotmats).mean(0, keepdim=True)),
            betas=state.betas.mean(0, keepdim=True),
            transl=state.transl.mean(0, keepdim=True),
            betas_count=len(chosen),
            variance=variance,
        )
