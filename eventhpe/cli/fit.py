"""`eventhpe fit`: tracked 3D keypoints in, a moving body out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from eventhpe.body.fit import FitResult

HELP = "fit a body to tracked 3D keypoints (DHP19's markers, or joints)"


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe fit`."""

    keypoints: list[Path]
    """Keypoints of one person: DHP19's Vicon .mat, .npz (xyz, names) or .csv (columns like head_x). Shape and
    places of the keypoints are found from all files together."""
    output: Path = field(kw_only=True)
    """Motion file to write (.npz); a folder when there are several files."""
    rate: float | None = None
    """Frames per second, for files without times (100 for .mat)."""
    unit: Literal["mm", "m"] | None = None
    """Unit of the numbers (mm for .mat, else m)."""
    up: Literal["z", "y"] | None = None
    """Axis that points up (z for .mat, else y)."""
    names: Literal["dhp19", "smpl"] | None = None
    """Whether names mean DHP19's markers or SMPL's joints (DHP19's if all are among its 13)."""
    floor: bool = True
    """The floor is at height 0: frames with a foot below it count as invalid."""
    json: bool = False
    """Print the reports as JSON."""


def run(options: Options) -> int:
    """Fit, write, and say how well it went."""
    import json

    from eventhpe.body.fit import fit_subject
    from eventhpe.body.fit_settings import FitSettings
    from eventhpe.body.motion_file import save_motion
    from eventhpe.data.keypoint_file import read_keypoints

    outputs = _outputs(options)
    sequences = [
        read_keypoints(path, rate_hz=options.rate, unit=options.unit, up=options.up, names=options.names)
        for path in options.keypoints
    ]
    results = fit_subject(sequences, settings=FitSettings(floor=options.floor))
    for output, result in zip(outputs, results, strict=True):
        output.parent.mkdir(parents=True, exist_ok=True)
        save_motion(output, result.motion)
    if options.json:
        print(json.dumps({str(o): r.report for o, r in zip(outputs, results, strict=True)}, indent=2))
        return 0
    for path, output, result in zip(options.keypoints, outputs, results, strict=True):
        print("\n".join(_lines(path, output, result)))
    return 0


def _outputs(options: Options) -> list[Path]:
    from eventhpe.errors import FormatError

    files, output = options.keypoints, options.output
    if len(files) == 1 and not output.is_dir():
        if output.suffix.lower() != ".npz":
            raise FormatError(f"-o {output}: a motion file ends in .npz.")
        return [output]
    if output.suffix or output.is_file():
        raise FormatError(f"-o {output}: several files need a folder to write to.")
    outputs = [output / f"{path.stem}.npz" for path in files]
    if len(set(outputs)) < len(outputs):
        raise FormatError(f"-o {output}: two of the files have the same name; fit them into two folders.")
    return outputs


def _lines(path: Path, output: Path, result: FitResult) -> list[str]:
    report = result.report
    drift = max(report["bone_drift_mm"].items(), key=lambda item: abs(item[1]), default=None)
    lines = [
        f"{path}: {report['frames']} frames, {report['valid_frames']} valid, "
        f"{report['missing_share']:.1%} of the keypoints missing",
        f"  residual {report['mean_residual_mm']:.1f} mm on average, 95 % below "
        f"{report['p95_residual_mm']:.1f} mm",
    ]
    width = max(map(len, report["residual_mm"]))
    lines += [f"    {name:<{width}}  {value:6.1f} mm" for name, value in report["residual_mm"].items()]
    if drift is not None:
        lines.append(f"  bones: largest drift {drift[1]:+.1f} mm ({drift[0]})")
    lines.append(f"  written to {output}")
    return lines
