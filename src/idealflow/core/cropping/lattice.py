"""Translation vectors found around a centre, and cells built on them.

If the edges of a crop map the local structure onto itself, nothing is broken at its boundary. A crystal has such vectors whatever
the orientation of the grain, and they can be read off the atoms: every vector from the centre to an atom of its own species is a
candidate (vectors from its neighbours too: the centre may itself be the defect). A candidate is rated by how well it carries the
centre's neighbours onto atoms of their own species, and refined by the mean distance that is left.
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
    vectors : (n, 3) Å, best first; the opposite of each is a translation too
    mismatch : (n,) root mean square distance between moved neighbours and the atoms nearest to where they land, Å

    Examples
    --------
    >>> Translations(vectors=np.array([[3.61, 0.0, 0.0]]), mismatch=np.array([0.02])).mismatch.tolist()
    [0.02]
    """

    vectors: Floats
    mismatch: Floats


def find_translations(sur: Surroundings, shortest: float, longest: float) -> Translations:
    """Find the vectors that nearly map the surroundings onto themselves, among those from atom to atom.

    Parameters
    ----------
    sur : the centre's surroundings; its radius should exceed `longest` plus the cutoff
    shortest, longest : range of lengths, Å

    Returns
    -------
    Translations
        At most 400, smallest mismatch first. The frame's own vectors in the range are among them, with mismatch 0.

    Examples
    --------
    In a perfect crystal every lattice vector is one, without mismatch:

    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> found = find_translations(sur, shortest=3.0, longest=4.0)
    >>> len(found.vectors), bool((found.mismatch < 1e-9).all())
    (18, True)
    """
    distance = np.linalg.norm(sur.vectors, axis=1)
    probes = np.flatnonzero(distance <= sur.cutoff)[:MAX_PROBES]
    pool = candidates_from(sur, anchors_of(sur), shortest, longest)
    vectors, mismatch = pool, np.empty(0)
    if len(pool):
        # a few probes rule most candidates out; all probes are tried on those that pass
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

    The centre alone would mislead if it is the defect: an impurity has no atom of its species near, and vectors from an antisite
    to atoms of its species connect different sublattices.
    """
    firsts = [int(np.flatnonzero(sur.numbers[1:] == number)[0]) + 1 for number in np.unique(sur.numbers[1:])]
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
    """Refine candidate vectors (n, 3) by where they carry the probes; returns them and their mismatch (n,), Å."""
    cap = 0.5 * sur.nearest
    left = np.zeros((len(pool), len(probes), 3))
    missed = np.zeros((len(pool), len(probes)), dtype=bool)
    for number in np.unique(sur.numbers[probes]):
        mine = np.flatnonzero(sur.numbers[probes] == number)
        points = sur.vectors[sur.numbers == number]
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
    """Build cells from translations: right-handed, wide enough for the core, of moderate volume, no two alike.

    Parameters
    ----------
    sur : the centre's surroundings
    translations : the vectors to choose edges from; a smaller mismatch makes one likelier
    count : most cells
    widths : smallest and largest perpendicular width, Å; the volume stays below the cube of the largest
    rng : source of random numbers
    normal : (3,) unit vector; the third edge then stands on it and the other two lie within the surface

    Yields
    ------
    tuple
        Edges (3, 3) in Å, and which of them (3,) are kept, the frame's own.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> found = find_translations(sur, shortest=7.8, longest=13.0)
    >>> cells = list(lattice_edges(sur, found, 4, (8.0, 11.0), np.random.default_rng(0)))
    >>> len(cells), bool(np.linalg.det(cells[0][0]) > 8.0**3)
    (4, True)
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
    """Draw a third edge for two given ones so that every free pair of faces is far enough apart; None if there is none.

    Parameters
    ----------
    rows : (2, 3) the edges so far, Å
    pool, chance : (n, 3) candidates and their probabilities
    kept : (2,) which of the two edges need no width of their own
    bounds : smallest width of the free pairs of faces, and the cube root of the largest volume, Å
    rng : source of random numbers
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
