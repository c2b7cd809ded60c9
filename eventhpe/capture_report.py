"""What a capture leaves behind: motion.npz, overlay.mp4 and report.html."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from eventhpe.body.default import open_body
from eventhpe.body.motion_file import save_motion
from eventhpe.body.posing import BodyPoser
from eventhpe.capture import Capture
from eventhpe.data.windows import WINDOW_US
from eventhpe.events.recording import Recording
from eventhpe.geometry.skeleton import SMPL_SKELETON
from eventhpe.render.flow_color import flow_to_color
from eventhpe.render.movie import picture_scale, window_picture, write_movie
from eventhpe.render.plots import plot_event_rate, plot_joint_curves, plot_trajectory
from eventhpe.render.report import Picture, Section, encode_png, write_report

CURVES = ("pelvis", "wrist_left", "wrist_right", "ankle_left", "ankle_right")
NUM_STILLS = 6


def write_outputs(
    folder: Path,
    recording: Recording,
    captured: Capture,
    *,
    facts: dict[str, str],
    scores: dict[str, str] | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = lambda items: items,
) -> dict[str, Path]:
    """Write the three files of a capture.

    Args:
        folder: made if absent.
        facts: provenance for the report (recording, camera, weights, command).
        scores: errors against truth, where truth is known.

    Returns:
        name -> path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outputs = {name: folder / name for name in ("motion.npz", "overlay.mp4", "report.html")}
    poser = BodyPoser(open_body())
    save_motion(outputs["motion.npz"], captured.clip)
    crops = [(c.left, c.top, c.side) for c in captured.crops]
    write_movie(
        outputs["overlay.mp4"], recording, clip=captured.clip, poser=poser, crops=crops, progress=progress
    )
    write_report(
        outputs["report.html"],
        f"Capture of {Path(facts['recording']).name}",
        _sections(recording, captured, poser, facts, scores),
    )
    return outputs


def _sections(
    recording: Recording,
    captured: Capture,
    poser: BodyPoser,
    facts: dict[str, str],
    scores: dict[str, str] | None,
) -> list[Section]:
    sections = [
        Section("Stills", pictures=_stills(recording, captured, poser)),
        Section(
            "Events", pictures=[_event_rate(captured)], rows=list(_event_facts(recording, captured).items())
        ),
    ]
    if captured.flow_windows:
        sections.append(Section("Optical flow in the crop", pictures=_flow_pictures(captured)))
    sections.append(Section("Joints", pictures=_curves(captured, poser)))
    if scores:
        sections.append(Section("Errors against truth", rows=list(scores.items())))
    notes = [*captured.notes, *recording.warnings]
    sections.append(Section("Provenance", notes=notes, rows=list(facts.items())))
    return sections


def _stills(recording: Recording, captured: Capture, poser: BodyPoser) -> list[Picture]:
    clip, scale = captured.clip, picture_scale(recording.sensor_size)
    pictures = []
    for k in _spread(len(clip.t_us), NUM_STILLS):
        t1 = int(clip.t_us[k])
        events = recording.read(recording.index_at(t1 - WINDOW_US), recording.index_at(t1))
        crop = captured.crops[k]
        image = window_picture(
            events, scale=scale, clip=clip, index=k, poser=poser, crop=(crop.left, crop.top, crop.side)
        )
        pictures.append(
            Picture(encode_png(image), f"{t1 * 1e-6:.2f} s: body over the events of the last 50 ms")
        )
    return pictures


def _event_rate(captured: Capture) -> Picture:
    edges = np.append(captured.t0_us, captured.t0_us[-1] + WINDOW_US)
    return Picture(
        plot_event_rate(edges, captured.counts[:, 1], captured.counts[:, 0]),
        "Event rate over time",
        wide=True,
    )


def _event_facts(recording: Recording, captured: Capture) -> dict[str, str]:
    h, w = recording.sensor_size
    return {
        "sensor": f"{w} x {h} px",
        "events": f"{recording.num_events:,}",
        "duration": f"{recording.duration_us * 1e-6:.3f} s",
        "windows": f"{len(captured.t0_us)} of {WINDOW_US // 1000} ms",
        "windows with fewer than 100 events": f"{int((captured.counts.sum(1) < 100).sum())}",
    }


def _flow_pictures(captured: Capture) -> list[Picture]:
    largest = max(float(np.quantile(np.linalg.norm(f, axis=0), 0.99)) for f in captured.flow_windows.values())
    return [
        Picture(
            encode_png(flow_to_color(flow, max_px=max(largest, 1.0))),
            f"{captured.t0_us[k] * 1e-6:.2f} s: hue = direction, full colour = {largest:.1f} px per window",
        )
        for k, flow in sorted(captured.flow_windows.items())
    ]


def _curves(captured: Capture, poser: BodyPoser) -> list[Picture]:
    clip = captured.clip
    p = clip.params
    joints = np.stack([poser.joints(p.betas[k], p.pose[k], p.transl[k]) for k in range(len(clip.t_us))])
    picks = [SMPL_SKELETON.index(name) for name in CURVES]
    return [
        Picture(
            plot_joint_curves(clip.t_us, joints[:, picks], CURVES, clip.confidence[:, picks]),
            "Joint positions in the camera frame (metres; x right, y down, z away) and confidence",
            wide=True,
        ),
        Picture(plot_trajectory(clip.t_us, joints[:, 0]), "Path of the pelvis seen from above (metres)"),
    ]


def _spread(total: int, wanted: int) -> list[int]:
    # Not the very ends: the first and last windows are often half empty.
    return sorted({int(k) for k in np.linspace(0.04 * total, 0.96 * (total - 1), min(wanted, total)).round()})
