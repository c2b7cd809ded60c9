"""Settings of fits of a body to keypoints."""

from __future__ import annotations

from dataclasses import dataclass, fields

from eventhpe.errors import ShapeError


@dataclass(frozen=True)
class FitSettings:
    """How a body is fitted to keypoints. Error messages name the fields.

    The energy is a negative log posterior: every `..._sigma...` is a standard deviation.
    """

    noise_sigma_m: float = 0.01
    """Noise of a keypoint along each axis."""
    robust_m: float = 0.1
    """Scale of the Geman-McClure penalty: keypoints this far off hardly pull any more."""
    prior_weight: float = 0.3
    """Weight of the pose prior in every frame."""
    limit_sigma_deg: float = 3.0
    """How far a joint's rotation may leave its limits."""
    unobserved_sigma_deg: float = 20.0
    """Rotation of joints that no keypoint shows (spine, wrists, feet); hands hold still."""
    acceleration_sigma: float = 25.0
    """Acceleration of the joints, m/s^2; large ones (impacts) are penalised linearly."""
    turn_sigma: float = 250.0
    """Angular acceleration of the joints relative to their parents, rad/s^2."""
    marker_depth: float = 0.5
    """Where DHP19's markers usually sit between the joint (0) and the skin (1)."""
    offset_sigma_m: float = 0.04
    """Deviation of a keypoint's place on the body from the usual one."""
    max_offset_m: float = 0.10
    """Largest such deviation."""
    asymmetry_sigma_m: float = 0.01
    """Difference between a keypoint's place and that of its mirror partner; 0 makes them exact mirrors."""
    share_sigma: float = 0.25
    """Deviation of the share with which a keypoint turns with its joint, not with the joint's parent."""
    betas_sigma: float = 1.0
    """Shape coefficients; the open body's have unit variance."""
    subject_weight: float = 1.0
    """How often the priors of offsets and shares count per chosen frame: what the pose prior gets wrong about
    a person is wrong in all frames, and must not be mended by moving the keypoints."""
    shape_frames: int = 100
    """Frames, chosen for their different poses, from which shape and offsets are found."""
    shape_iterations: int = 600
    """Steps of L-BFGS for shape and offsets."""
    coarse_iterations: int = 100
    """Steps of L-BFGS for the poses at `coarse_hz`."""
    pose_iterations: int = 40
    """Steps of L-BFGS for the poses of every frame."""
    coarse_hz: float = 25.0
    """Rate of the first pass over the poses, from which the second starts."""
    window_s: float = 4.0
    """Longest stretch that is solved at once."""
    overlap_s: float = 0.4
    """Part of a window that is solved again with the next one."""
    gap_s: float = 0.2
    """Longest absence of hips or shoulders that is bridged; longer ones make frames invalid."""
    max_residual_mm: float = 30.0
    """Largest mean residual of a valid frame."""
    floor: bool = True
    """The floor is y = 0: soles are kept above it, and frames with one below it are invalid."""
    floor_tolerance_m: float = 0.05
    """How far a sole may be below the floor."""

    def __post_init__(self) -> None:
        may_be_zero = (
            "prior_weight",
            "marker_depth",
            "asymmetry_sigma_m",
            "overlap_s",
            "gap_s",
            "floor_tolerance_m",
        )
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "floor":
                continue
            if f.name.endswith(("_iterations", "_frames")):
                if value != int(value) or value < 1:
                    raise ShapeError(f"FitSettings.{f.name} must be a whole number, at least 1; got {value}.")
            elif not (0 < value < float("inf") or (value == 0 and f.name in may_be_zero)):
                raise ShapeError(f"FitSettings.{f.name} must be positive and finite; got {value}.")
        if self.marker_depth > 1:
            raise ShapeError(f"FitSettings.marker_depth must lie in [0, 1]; got {self.marker_depth}.")
        if self.overlap_s >= self.window_s / 2:
            raise ShapeError(
                f"FitSettings.overlap_s must be less than half of window_s = {self.window_s}; "
                f"got {self.overlap_s}."
            )
