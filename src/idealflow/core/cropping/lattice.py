"""Translation vectors found around a centre, and cells built on them.

A crop whose edges map the local structure onto itself has no seam. In a crystal such vectors exist whatever the
orientation of the grain; they are read off the atoms: every vector from the centre to an atom of its own species is a
candidate (vectors from its neighbours too: it may itself be the defect), judged by how well it carries the centre's
neighbours onto atoms of their own species, and refined by the mean of what is left over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.core.cropping.surroundings import FACE_TOLERANCE, Surroundings

__all__ = ["Translations", "find_translations", "lattice_edges"]

MAX_PROBES = 80
FEW_PROBES = 13
MIN_ANCHORS = 3
MAX_TRANSLATIONS = 400
PAIR_TRIES = 30

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Translations:
    """Vectors that nearly map the surroundings of a centre onto themselves.

    Attributes
    ----------
    vectors : (n, 3) Å, best first; with every vector its opposite is a translation too
    mismatch : (n,) root mean square distance left between a moved neighbour and the atom it lands on, Å
    """

    vectors: Floats
    mismatch: Floats


def find_translations(sur: Surroundings, shortest: float, longest: float) -> Translations:
    """Judge and refine the interatomic vectors around the centre.

    Parameters
    ----------
    sur : the centre's surroundings; its radius should exceed `longest` plus the cutoff
    shortest, longest : range of lengths, Å

    Returns
    -------
    Translations
        At most 400, sorted by mismatch. Frame vectors in the range are among them with mismatch 0.
    """
    distance = np.linalg.norm(sur.vectors, axis=1)
    probes = np.flatnonzero(distance <= sur.cutoff)[:MAX_PROBES]
    pool = candidates_from(sur, anchors_of(sur), shortest, longest)
    vectors, mismatch = pool, np.empty(0)
    if len(pool):
        # a few probes tell most candidates apart; the rest are for those that pass
        rough = judge(sur, pool, probes[:FEW_PROBES])[1]
        vectors, mismatch = judge(sur, pool[np.argsort(rough, kind="stable")[: 2 * MAX_TRANSLATIONS]], probes)
    own_vectors = [
        (step @ sur.frame_cell)
        for step in small_steps(sur)
        if shortest <= np.linalg.norm(step @ sur.frame_cell) <= longest
    ]
    if own_vectors:
        vectors = np.concatenate([np.array(own_vectors), vectors])
        mismatch = np.concatenate([np.zeros(len(own_vectors)), mismatch])
    order = np.argsort(mismatch, kind="stable")[:MAX_TRANSLATIONS]
    return Translations(vectors[order], mismatch[order])


def anchors_of(sur: Surroundings) -> list[int]:
    """Atoms to read vectors from: the centre, its nearest neighbour of each species, and the next nearest ones.

    The centre alone would mislead where it is the defect: an impurity has no like to reach for, and vectors from an
    antisite to atoms of its species join the wrong sublattices.
    """
    firsts = [int(np.flatnonzero(sur.numbers[1:] == kind)[0]) + 1 for kind in np.unique(sur.numbers[1:])]
    return list(dict.fromkeys([0, *firsts, *range(1, len(sur.numbers))]))[: max(MIN_ANCHORS, 1 + len(firsts))]


def candidates_from(sur: Surroundings, anchors: list[int], shortest: float, longest: float) -> Floats:
    """Vectors (n, 3) from each anchor to the atoms of its own species whose length lies in a range, Å."""
    found = [np.empty((0, 3))]
    for anchor in anchors:
        vectors = sur.vectors[sur.numbers == sur.numbers[anchor]] - sur.vectors[anchor]
        length = np.linalg.norm(vectors, axis=1)
        found.append(vectors[(length >= shortest) & (length <= longest)])
    return np.concatenate(found)


def judge(sur: Surroundings, pool: Floats, probes: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Refined vectors (n, 3) and their mismatch (n,), by where they carry the probes, Å."""
    cap = 0.5 * sur.nearest
    left = np.zeros((len(pool), len(probes), 3))
    missed = np.zeros((len(pool), len(probes)), dtype=bool)
    for kind in np.unique(sur.numbers[probes]):
        mine = np.flatnonzero(sur.numbers[probes] == kind)
        points = sur.vectors[sur.numbers == kind]
        landed = sur.vectors[probes[mine]][None, :, :] + pool[:, None, :]
        gap, nearest = cKDTree(points).query(landed, distance_upper_bound=cap)
        found = np.isfinite(gap)
        left[:, mine] = np.where(found[..., None], points[np.where(found, nearest, 0)] - landed, 0.0)
        missed[:, mine] = ~found
    hits = np.maximum((~missed).sum(axis=1), 1)
    mean = left.sum(axis=1) / hits[:, None]
    spread = (np.where(missed[..., None], 0.0, left - mean[:, None, :]) ** 2).sum(axis=(1, 2))
    return pool + mean, np.sqrt((spread + cap**2 * missed.sum(axis=1)) / len(probes))


def small_steps(sur: Surroundings) -> list[Floats]:
    """Integer steps along the frame's periodic directions, -1 to 1 each, without the zero step."""
    spans = [(-1.0, 0.0, 1.0) if p else (0.0,) for p in sur.periodic]
    return [np.array([a, b, c]) for a in spans[0] for b in spans[1] for c in spans[2] if (a, b, c) != (0, 0, 0)]


def lattice_edges(
    sur: Surroundings,
    translations: Translations,
    count: int,
    widths: tuple[float, float],
    rng: np.random.Generator,
    normal: Floats | None = None,
) -> Iterator[tuple[Floats, tuple[bool, ...]]]:
    """Build cells from translations: right-handed, wide enough for the core, of moderate volume, each one once.

    Parameters
    ----------
    sur : the centre's surroundings
    translations : where the edges come from
    count : how many cells at most
    widths : smallest and largest perpendicular width, Å; the volume stays below the cube of the largest
    rng : generator
    normal : (3,) unit vector; the third edge then stands on it and the other two lie within the surface

    Yields
    ------
    tuple
        Edges (3, 3) in Å, and which of them are the frame's own, kept ones.
    """
    fixed = [sur.frame_cell[k] for k in np.flatnonzero(sur.kept)]
    if normal is not None and len(fixed) < 3:
        fixed = [f for f in fixed if abs(f @ normal) < 0.5 * np.linalg.norm(f)]
    need = 3 - len(fixed) - (normal is not None)
    pool, mismatch = translations.vectors, translations.mismatch
    if normal is not None and len(pool):
        flat = np.abs(pool @ normal) <= 0.1 * np.linalg.norm(pool, axis=1)
        pool, mismatch = pool[flat], mismatch[flat]
    if need <= 0 or len(pool) == 0:
        return
    scale = 1.25 * float(np.median(mismatch[: max(1, len(mismatch) // 8)])) + 0.03
    chance = np.exp(-((mismatch / scale) ** 2))
    chance /= chance.sum()
    bounds = (max(widths[0], 2.0 * sur.cutoff + FACE_TOLERANCE), widths[1])
    seen: set[tuple[int, ...]] = set()
    for _ in range(PAIR_TRIES * count):
        if len(seen) >= count:
            return
        rows = list(fixed)
        kept = [True] * len(fixed)
        if normal is not None:
            rows.append(normal * rng.uniform(*bounds))
            kept.append(False)
        while len(rows) < 2:
            rows.append(pool[rng.choice(len(pool), p=chance)])
            kept.append(False)
        last = complete_cell(np.array(rows), pool, chance, (kept[0], kept[1]), bounds, rng)
        if last is None:
            continue
        edges = np.concatenate([np.array(rows), last[None, :]])
        flags = (*kept, False)
        if np.linalg.det(edges) < 0:
            edges[[0, 1]] = edges[[1, 0]]
            flags = (flags[1], flags[0], flags[2])
        key = tuple(np.round(np.sort(np.abs(edges @ edges.T).ravel()) * 2.0).astype(int))
        if key not in seen:
            seen.add(key)
            yield edges, flags


def complete_cell(
    rows: Floats,
    pool: Floats,
    chance: Floats,
    kept: tuple[bool, bool],
    bounds: tuple[float, float],
    rng: np.random.Generator,
) -> Floats | None:
    """Draw the third edge for two given ones so that every free pair of faces is far enough apart, if there is one.

    Parameters
    ----------
    rows : (2, 3) the edges so far, Å
    pool, chance : (n, 3) candidates and their probabilities
    kept : (2,) which of the two edges need no width of their own
    bounds : smallest width of the free pairs of faces, and the cube root of the largest volume, Å
    rng : generator
    """
    across = np.cross(rows[0], rows[1])
    area = float(np.linalg.norm(across))
    if area < 1e-6:
        return None
    volume = np.abs(pool @ across)
    widths = np.stack(
        [
            volume / np.maximum(np.linalg.norm(np.cross(rows[1], pool), axis=1), 1e-9),
            volume / np.maximum(np.linalg.norm(np.cross(pool, rows[0]), axis=1), 1e-9),
            volume / area,
        ]
    )
    wide = np.ones(len(pool), dtype=bool)
    for k, free in enumerate((not kept[0], not kept[1], True)):
        if free:
            wide &= widths[k] >= bounds[0]
    limit = bounds[1] ** 3 if not any(kept) else area * bounds[1] * 1.2
    fits = np.flatnonzero(wide & (volume <= limit))
    weight = chance[fits]
    if fits.size == 0 or weight.sum() <= 0.0:
        return None
    return np.asarray(pool[rng.choice(fits, p=weight / weight.sum())], dtype=np.float64)
