"""Random adults as weights of MakeHuman's targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def tent(value: np.ndarray, low: str, mid: str, high: str) -> dict[str, np.ndarray]:
    """Piecewise-linear weights of three levels over [0, 1]."""
    return {
        low: np.clip(1 - 2 * value, 0, 1),
        mid: 1 - np.abs(2 * value - 1),
        high: np.clip(2 * value - 1, 0, 1),
    }


def target_coefficients(p: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    """(S, n) weight of every target for S people described by `p` (rule: macrodetails/macro.json)."""
    signed = lambda v, minus, plus: {minus: np.clip(-v, 0, 1), plus: np.clip(v, 0, 1)}  # noqa: E731
    factor: dict[str, np.ndarray] = {
        "female": 1 - p["sex"], "male": p["sex"], "young": 1 - p["age"], "old": p["age"],
        **tent(p["muscle"], "minmuscle", "averagemuscle", "maxmuscle"),
        **tent(p["weight"], "minweight", "averageweight", "maxweight"),
        **signed(p["height"], "minheight", "maxheight"),
        **signed(p["proportions"], "uncommonproportions", "idealproportions"),
        **{key: p[key] for key in ("african", "asian", "caucasian")}, "universal": np.ones_like(p["sex"]),
    }  # fmt: skip
    columns = []
    for name in names:
        stem = Path(name).stem
        if "macrodetails" in name:
            column = np.prod([factor[part] for part in stem.split("-")], axis=0)
        else:
            kind, sign = stem.rsplit("-", 1)
            column = np.clip(p[kind] if sign == "incr" else -p[kind], 0, 1)
        columns.append(column)
    return np.stack(columns, 1)


def sample_people(rng: np.random.Generator, count: int, locals_: list[str]) -> dict[str, np.ndarray]:
    """Random adults: sex U-shaped, age skewed young, weight a little above MakeHuman's average."""
    ancestry = rng.dirichlet([0.8, 0.8, 0.8], count)
    stature = rng.normal(0, 0.067, count)
    people = {
        "sex": rng.beta(0.35, 0.35, count), "age": rng.beta(1.0, 3.0, count), "muscle": rng.beta(2, 2, count),
        "weight": rng.beta(1.9, 1.0, count),
        # The height targets add 0.72 m at +1 and take 0.37 m at -1.
        "height": np.where(stature > 0, stature / 0.72, stature / 0.37),
        "proportions": np.clip(rng.normal(0, 0.35, count), -1, 1),
        "african": ancestry[:, 0], "asian": ancestry[:, 1], "caucasian": ancestry[:, 2],
    }  # fmt: skip
    people.update({kind: np.clip(rng.normal(0, 0.15, count), -1, 1) for kind in locals_})
    return people
