"""The four cameras of DHP19 (Calabrese et al., CVPRW 2019), and its world.

World: DHP19 has millimetres, Z up, its origin on the floor in the middle of the volume; the subject looks
towards -Y, its left is +X. Ours has metres, Y up; who has heading 0 faces +z, its left is +x. So (x, y, z) =
(X, Z, -Y) / 1000, a rotation by -90 degrees about X: nothing is mirrored.

Image: events lie at column 345 - x_raw, row 259 - y_raw (0-based, row 0 on top), as in every recording read
here. The authors project with (x, y, w) = P (X, Y, Z, 1), u = x / w, v = 260 - y / w: y / w grows upwards, v
downwards, and their label of a pixel is (int(u), int(v)). `dhp19_camera` gives exactly this (u, v).

What stays open is where pixel centres lie on (u, v); the release does not say how its calibration points were
counted. Here, as everywhere in this package, pixel k has its centre at u = k, so a point at (u, v) is
drawn into pixel (rint(u), rint(v)). Two readings of the authors' numbers differ from that:

- Their truncation, taken as the rule, puts the centre of pixel k at k + 0.5: our coordinates would be
  (u - 0.5, v - 0.5). Their integer labels lie 0.5 px left of and above what is drawn here, on average.
- Their MATLAB pixels, X = column + 1 and Y = row + 1 = 260 - y_raw, put the centre of column k at k + 1,
  which fits v = 260 - y / w with y / w = y_raw: our coordinates would be (u - 1, v - 1).

So half a pixel or one, the same in all cameras and along both axes, may separate the places of synthetic
events from those that the same body would have had in the real recordings. The calibration itself is no
better: its own points reproject with a mean error of 0.9 to 2.5 px.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import CalibrationError, ShapeError
from eventhpe.geometry.camera import Camera

Array = NDArray[np.float64]

DHP19_SIZE = (260, 346)
"""(H, W) of each camera."""

CHANNEL_TO_CAMERA = {0: 4, 1: 1, 2: 3, 3: 2}
"""Camera number of the files (rank of the camera's serial number) -> number of the camera and its matrix."""


def _constant(rows: list[list[float]]) -> Array:
    array = np.array(rows)
    array.flags.writeable = False
    return array


PROJECTION_MATRICES = {
    1: _constant(
        [
            [-0.06506658794292798, 0.10280371611880136, -0.02991671991993662, 226.32713855489936],
            [-0.07982530276208322, -0.005739210846646318, 0.08041816785398746, 19.108805492245697],
            [-0.0002985130992924634, -2.6319147339609605e-05, -0.00016321114926096114, 1.0],
        ]
    ),
    2: _constant(
        [
            [0.04504472931694892, 0.09380784662930192, -0.014391922975556649, 160.94826518059733],
            [-0.0369902927897163, 0.047861798931755, 0.08092164901391627, 43.386977678106064],
            [-0.0001639806790971754, 0.00019276984391487437, -7.910054207826804e-05, 1.0],
        ]
    ),
    3: _constant(
        [
            [0.09385359589564321, -0.03211491168723093, -0.02381457697985833, 171.9239972226072],
            [0.04888594811112287, 0.04378180959764298, 0.07345563524481341, 52.69097143832967],
            [0.0001649830265849639, 0.00019099866454787284, -0.00010198764454588324, 1.0],
        ]
    ),
    4: _constant(
        [
            [0.05547159207521162, -0.099648113038456, -0.03531374152052813, 195.34742544632326],
            [0.08271149398364297, 0.0017698764732507197, 0.07409964275720979, 32.111135629052015],
            [0.0002786441186927585, 2.790850290513517e-05, -0.00016420305584222833, 1.0],
        ]
    ),
}
"""Camera number -> (3, 4) published matrix, millimetres to homogeneous pixels with y upwards."""

CAMERA_POSITIONS_MM = _constant(
    [
        [2270.6251849220166, -181.43877076340618, 2003.3187312188911],
        [2231.3468966043083, -2487.250377163, 1954.9215409613585],
        [-2101.647417541063, -2318.5248972857717, 2063.276292672452],
        [-2312.7304984530674, -89.09663338134828, 2150.2930808570036],
    ]
)
"""(4, 3) published centres of cameras 1 to 4 in DHP19's world, camera_positions.npy."""


_WORLD_TO_DHP19 = _constant([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def projection_matrix(channel: int) -> Array:
    """(3, 4) published matrix of the camera with this number in the files, 0..3.

    Raises:
        CalibrationError: there is no such camera.
    """
    if channel not in CHANNEL_TO_CAMERA:
        raise CalibrationError(f"DHP19 has cameras 0 to 3 in its files; got {channel!r}.")
    return PROJECTION_MATRICES[CHANNEL_TO_CAMERA[channel]]


def dhp19_camera(channel: int) -> Camera:
    """The camera with this number in the files, in our world (metres, Y up), v downwards, without distortion.

    K has a skew entry (-6.4 to 3.5 px). The published matrices, with y upwards, hold a reflection; row 2
    becomes 260 x row 3 - row 2, which leaves a rotation.

    Raises:
        CalibrationError: there is no such camera.
    """
    P = projection_matrix(channel).copy()
    P[1] = DHP19_SIZE[0] * P[2] - P[1]
    P[:, :3] = P[:, :3] @ (1000.0 * _WORLD_TO_DHP19)
    return Camera.from_projection_matrix(P, DHP19_SIZE, unit="m")


def world_to_dhp19(xyz_m: ArrayLike) -> Array:
    """(*, 3) metres in our world to (*, 3) millimetres in DHP19's; NaN stays where it is."""
    xyz = _points(xyz_m)
    return np.stack([xyz[..., 0], -xyz[..., 2], xyz[..., 1]], axis=-1) * 1000.0


def dhp19_to_world(xyz_mm: ArrayLike) -> Array:
    """(*, 3) millimetres in DHP19's world to (*, 3) metres in ours; NaN stays where it is."""
    xyz = _points(xyz_mm)
    return np.stack([xyz[..., 0], xyz[..., 2], -xyz[..., 1]], axis=-1) / 1000.0


def _points(xyz: ArrayLike) -> Array:
    points = np.asarray(xyz, np.float64)
    if points.shape[-1:] != (3,):
        raise ShapeError(f"points must be (*, 3); got {points.shape}.")
    return points
