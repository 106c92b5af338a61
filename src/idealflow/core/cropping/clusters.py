"""Clusters in vacuum, bounded by lattice planes: what is left of a particle's edge or corner, with faces that a crystal has.

Around a corner no periodic cell of moderate size continues the particle: whatever meets across its faces is broken. A cluster
meets nothing. Its new faces are planes of the lattice that is found around the centre, the widest spaced ones (for fcc metals
{111} and {100}), half-way between two layers, the first that leaves the core whole or one of the next two. Where such planes meet
they leave corners that are sharper than any of a particle: atoms with less than half of the neighbours of one in bulk are left
out, one layer of them after another, but for those next to the core.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.core.cropping.contacts import Selection
from idealflow.core.cropping.molecules import BODY
from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import Surroundings

__all__ = ["Cluster", "clusters", "lattice_around"]

#: reciprocal vectors up to so many times the shortest bound a cluster: {111} and {100} of fcc, {110} of bcc
WIDEST = 1.25
#: a translation carries atoms onto others within this part of a nearest-neighbour distance
ONTO = 0.25
#: and at least this part as many of them as the best one does
LEAST_SHARE = 0.6
#: how far beyond the core's sphere a plane lies at least, Å: on it the core's outermost atoms would be surface atoms
BEYOND = 1.0
#: planes lie up to so many layers farther out than the first one possible
FARTHER = 2
#: pairs up to so many times the nearest-neighbour distance are neighbours
BONDED = 1.3
#: sine of the smallest angle between basis vectors, and least volume of a basis of unit vectors
FLAT = 0.3
#: directions of the bounding planes where there is no lattice: those of a truncated octahedron
_PLAIN = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)], dtype=float)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cluster:
    """A candidate in vacuum: its box, and its atoms.

    Attributes
    ----------
    box : with vacuum along all three axes
    sel : the atoms

    Examples
    --------
    >>> box = Box(np.eye(3) * 20.0, np.full(3, -10.0), ("vacuum",) * 3, "cluster")
    >>> len(Cluster(box, Selection(np.arange(1), np.zeros((1, 3)), np.ones(1, dtype=bool))).sel.images)
    1
    """

    box: Box
    sel: Selection


def lattice_around(sur: Surroundings) -> Floats | None:
    """Find three short translations (3, 3) of the lattice around a centre, Å, rows; None where there is no lattice.

    Parameters
    ----------
    sur : the centre's surroundings

    Examples
    --------
    An atom on the upper face of a slab still tells its primitive cell, a fourth of the cubic one:

    >>> from ase.build import fcc111
    >>> from idealflow.core.cropping.surroundings import survey
    >>> slab = fcc111("Cu", (6, 6, 6), a=3.6, vacuum=10.0, periodic=True)
    >>> basis = lattice_around(survey(slab, int(slab.positions[:, 2].argmax()), cutoff=4.5, radius=12.0))
    >>> round(float(abs(np.linalg.det(basis))), 2) == round(3.6**3 / 4, 2)
    True
    """
    body = ~sur.gas & ~sur.adsorbed & (sur.molecule == BODY)
    points, numbers = sur.vectors[body], sur.numbers[body]
    probes = np.flatnonzero(np.linalg.norm(points, axis=1) <= sur.cutoff)
    if len(probes) < 4:
        return None
    pool = np.concatenate(
        [points[numbers == numbers[one]] - points[one] for one in probes[: min(len(probes), 5)]], axis=0
    )
    length = np.linalg.norm(pool, axis=1)
    pool = pool[(length > 0.5 * sur.nearest) & (length <= max(2.5 * sur.nearest, sur.cutoff))]
    if len(pool) == 0:
        return None
    near = ONTO * sur.nearest
    share, refined = np.zeros(len(pool)), pool.copy()
    total = np.zeros((len(pool), 3))
    for number in np.unique(numbers[probes]):
        mine, there = points[probes][numbers[probes] == number], points[numbers == number]
        landed = mine[None] + pool[:, None]
        gap, hit = cKDTree(there).query(landed, distance_upper_bound=near)
        found = np.isfinite(gap)
        total += np.where(found[..., None], there[np.where(found, hit, 0)] - landed, 0.0).sum(axis=1)
        share += found.sum(axis=1)
    good = share >= max(3.0, LEAST_SHARE * float(share.max()))
    refined = pool[good] + total[good] / share[good][:, None]
    refined = refined[np.argsort(np.linalg.norm(refined, axis=1), kind="stable")]
    rows: list[Floats] = []
    for vector in refined:
        units = np.array([*rows, vector]) / np.linalg.norm(np.array([*rows, vector]), axis=1)[:, None]
        if np.sqrt(max(0.0, float(np.linalg.det(units @ units.T)))) > FLAT:
            rows.append(vector)
        if len(rows) == 3:
            return np.array(rows)
    return None


def planes_of(basis: Floats) -> Floats:
    """Reciprocal vectors (n, 3) of the widest spaced planes of a lattice, 1/Å, both directions of each.

    Parameters
    ----------
    basis : (3, 3) rows, Å

    Examples
    --------
    >>> from ase.build import bulk
    >>> len(planes_of(bulk("Cu").cell.array))  # eight of {111}, six of {100}
    14
    """
    steps = np.stack(np.meshgrid(*3 * [np.arange(-3, 4)], indexing="ij"), axis=-1).reshape(-1, 3)
    reciprocal = steps[(steps != 0).any(axis=1)] @ np.linalg.inv(basis).T
    length = np.linalg.norm(reciprocal, axis=1)
    return np.asarray(reciprocal[length <= WIDEST * length.min()])


def blunted(
    chosen: NDArray[np.bool_], fixed: NDArray[np.bool_], pairs: NDArray[np.int64], least: float
) -> NDArray[np.bool_]:
    """Leave out atoms of a cluster that have fewer than ``least`` neighbours in it, until none is left but those that are fixed.

    Parameters
    ----------
    chosen, fixed : (n,) bool
        The cluster, and the atoms that stay in it.
    pairs : (m, 2)
        Atoms that are neighbours.
    least
        Fewest neighbours.

    Examples
    --------
    A chain of four atoms, of which the last has one neighbour, and then the third; the first two stay:

    >>> chain = np.array([[0, 1], [1, 2], [2, 3]])
    >>> blunted(np.ones(4, dtype=bool), np.array([True, True, False, False]), chain, 2).tolist()
    [True, True, False, False]
    """
    while True:
        inside = pairs[chosen[pairs].all(axis=1)]
        sharp = chosen & ~fixed & (np.bincount(inside.reshape(-1), minlength=len(chosen)) < least)
        if not sharp.any():
            return chosen
        chosen = chosen & ~sharp


def clusters(sur: Surroundings, count: int, vacuum: float, rng: np.random.Generator) -> Iterator[Cluster]:
    """Cut clusters around a centre that hold its core: no two alike, the smallest first.

    Gas is left out, but for the molecules of the core. Adsorbates come along where their metal does.

    Parameters
    ----------
    sur : the centre's surroundings
    count : most clusters
    vacuum : thickness of the empty space to their images, Å
    rng : decides which planes lie one layer farther out

    Examples
    --------
    >>> from ase.cluster import Octahedron
    >>> from idealflow.core.cropping.surroundings import survey
    >>> particle = Octahedron("Cu", 9, 3)
    >>> particle.pbc = False
    >>> corner = int(np.argmax(particle.positions[:, 2]))
    >>> made = list(clusters(survey(particle, corner, 5.0, 16.0), 3, 10.0, np.random.default_rng(0)))
    >>> made[0].box.axes, bool((made[0].sel.core.sum() < len(made[0].sel.images)) and len(made[0].sel.images) < 405)
    (('vacuum', 'vacuum', 'vacuum'), True)
    """
    if sur.kept.any():
        return
    distance = np.linalg.norm(sur.vectors, axis=1)
    core = distance <= sur.cutoff
    body = ~sur.gas & ~sur.adsorbed & (sur.molecule == BODY)
    if not body.any():
        return
    basis = lattice_around(sur)
    if basis is None:
        normals = _PLAIN[np.abs(_PLAIN).sum(axis=1) % 2 == 1]
        normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
        first, spacing = np.full(len(normals), sur.cutoff + BEYOND), np.full(len(normals), sur.nearest)
    else:
        reciprocal = planes_of(basis)
        spacing = 1.0 / np.linalg.norm(reciprocal, axis=1)
        normals = reciprocal * spacing[:, None]
        # layers stand at the mean phase of the core's atoms; planes half-way between them
        phase = np.exp(2j * np.pi * sur.vectors[core & body] @ reciprocal.T).sum(axis=0)
        layer = np.angle(phase) / (2.0 * np.pi) * spacing
        first = layer + spacing * (np.ceil((sur.cutoff + BEYOND - layer) / spacing - 0.5) + 0.5)
    heights = sur.vectors @ normals.T
    held = core.copy()
    held[sur.anchor[sur.adsorbed & core]] = True  # the metal of what sits in the core
    fixed = held | (distance <= sur.cutoff + sur.nearest)
    solid = np.flatnonzero(body)
    pairs = solid[cKDTree(sur.vectors[solid]).query_pairs(BONDED * sur.nearest, output_type="ndarray")]
    neighbours = np.bincount(pairs.reshape(-1), minlength=len(body))
    least = 0.5 * float(neighbours[core & body].max(initial=0))
    seen: set[tuple[int, ...]] = set()
    for attempt in range(4 * count):
        if len(seen) >= count:
            return
        farther = rng.integers(0, FARTHER + 1, len(normals)) if attempt else np.zeros(len(normals), dtype=int)
        inside = (heights <= first + spacing * farther).all(axis=1)
        chosen = blunted(held | (inside & body), fixed, pairs, least)
        # what sits on the cluster's metal comes along
        chosen |= sur.adsorbed & chosen[sur.anchor] & inside
        whole = np.isin(sur.molecule, sur.molecule[chosen]) & (sur.molecule >= 0)
        images = np.flatnonzero(chosen | whole)
        key = tuple(images.tolist())
        if key in seen:
            continue
        seen.add(key)
        vectors = sur.vectors[images]
        low, high = vectors.min(axis=0), vectors.max(axis=0)
        box = Box(np.diag(high - low + vacuum), low - vacuum / 2, ("vacuum", "vacuum", "vacuum"), "cluster")
        yield Cluster(box, Selection(images, vectors, core[images]))
