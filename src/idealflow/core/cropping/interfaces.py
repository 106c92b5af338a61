"""Cells across an interface, which keep it periodic: both grains, from vectors that map both of them onto themselves.

Around an atom of a grain boundary most vectors that map one grain onto itself carry the other one anywhere. Those that carry both
lie in the plane of the boundary. If a coincidence lattice has them, a cell on two of them breaks nothing within the plane. Along
its normal no vector helps: either the lower grain meets the upper one a second time, across the face of the cell, or both end in
empty space, on layers of their own. Which of them is the better known decides the score.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.clusters import BEYOND, Cluster
from idealflow.core.cropping.contacts import Selection, drop_contacts
from idealflow.core.cropping.lattice import Translations
from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import FACE_TOLERANCE, Surroundings, heights_of

__all__ = ["interface_plane", "interfaces"]

#: translations whose mismatch is within this factor of the best one's map both grains; all that leave the plane must be worse
AS_GOOD = 1.25
#: and their mismatch must be at most this part of a nearest-neighbour distance, twice what heat does to a crystal
LARGEST_MISMATCH = 0.2
#: how far from the plane they may point, as the sine of an angle
OFF_PLANE = 0.1
#: most pairs of edges
N_PAIRS = 3

Floats = NDArray[np.float64]


def interface_plane(sur: Surroundings, translations: Translations) -> tuple[Floats, Floats] | None:
    """Find the plane of an interface: the unit normal (3,), and the vectors (n, 3) in it that map both sides, Å.

    None where there is no interface, or no vector that maps both of its sides onto themselves.

    Parameters
    ----------
    sur
        The centre's surroundings.
    translations
        From :func:`~idealflow.core.cropping.lattice.find_translations`.

    Examples
    --------
    A crystal has such vectors in all directions:

    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.lattice import find_translations
    >>> from idealflow.core.cropping.surroundings import survey
    >>> crystal = bulk("Cu", cubic=True) * 6
    >>> crystal.rattle(0.1, seed=0)
    >>> sur = survey(crystal, centre=0, cutoff=4.0, radius=14.0)
    >>> interface_plane(sur, find_translations(sur, shortest=8.0, longest=13.0)) is None
    True
    """
    vectors, mismatch = translations.vectors, translations.mismatch
    moved = mismatch > 0.0  # the frame's own vectors say nothing about its structure
    if not moved.any() or mismatch[moved].min() > LARGEST_MISMATCH * sur.nearest:
        return None
    good = vectors[mismatch <= AS_GOOD * mismatch[moved].min()]
    units = good / np.linalg.norm(good, axis=1)[:, None]
    values, axes = np.linalg.eigh(units.T @ units / len(units))
    normal = axes[:, 0]
    leaving = np.abs(vectors @ normal) > 0.3 * np.linalg.norm(vectors, axis=1)
    if values[1] < 0.05 or np.abs(units @ normal).max() > OFF_PLANE or not leaving.any():
        return None
    if mismatch[leaving].min() < 0.1 * sur.nearest:
        return None
    return np.asarray(normal, dtype=np.float64), np.asarray(good, dtype=np.float64)


def interfaces(
    sur: Surroundings, translations: Translations, count: int, vacuum: float, rng: np.random.Generator
) -> Iterator[Box | Cluster]:
    """Draw cells across the interface at the centre, if there is one; half of them with empty space on both sides.

    Parameters
    ----------
    sur
        The centre's surroundings.
    translations
        The vectors to choose edges from.
    count
        Most cells.
    vacuum
        Thickness of the empty space, Å.
    rng
        Where the centre stands in the plane. Nothing is drawn where there is no interface.

    Examples
    --------
    Two grains of copper, turned against each other by 36.9° about their common normal:

    >>> from ase.build import bulk, make_supercell
    >>> from idealflow.core.cropping.lattice import find_translations
    >>> from idealflow.core.cropping.surroundings import survey
    >>> grains = []
    >>> for sign in (1, -1):
    ...     grain = make_supercell(bulk("Cu", cubic=True), [[4, 0, 0], [0, 6, 2 * sign], [0, -2 * sign, 6]])
    ...     grain.rotate(-sign * np.degrees(np.arctan2(1, 3)), "x", rotate_cell=True)
    ...     grains.append(grain)
    >>> length = grains[0].cell[0, 0]
    >>> grains[1].positions[:, 0] += length
    >>> frame = grains[0] + grains[1]
    >>> frame.cell[0, 0], frame.pbc = 2 * length, True
    >>> frame.rattle(0.05, seed=0)
    >>> centre = int(np.argmin(np.linalg.norm(frame.positions - [length, 11.0, 11.0], axis=1)))
    >>> sur = survey(frame, centre, cutoff=4.5, radius=16.0)
    >>> found = find_translations(sur, shortest=8.8, longest=15.0)
    >>> made = list(interfaces(sur, found, 4, 10.0, np.random.default_rng(0)))
    >>> [getattr(one, "box", one).axes[2] for one in made]
    ['periodic', 'vacuum', 'periodic', 'vacuum']
    """
    plane = interface_plane(sur, translations)
    if plane is None:
        return
    normal, pool = plane
    pairs = _smallest_pairs(pool, normal, 2.0 * sur.cutoff + FACE_TOLERANCE)
    if not pairs:
        return
    height = sur.vectors @ normal
    low, high = -_gap(-height, sur.cutoff + BEYOND, sur.nearest), _gap(height, sur.cutoff + BEYOND, sur.nearest)
    for number in range(count):
        edges = pairs[number // 2 % len(pairs)]
        widths = heights_of(np.concatenate([edges, [normal]]))[:2]
        below = sur.cutoff + rng.uniform(size=2) * (widths - 2.0 * sur.cutoff)
        origin = low * normal - (below / widths) @ edges
        if number % 2 == 0:
            cell = np.concatenate([edges, [(high - low) * normal]])
            yield Box(cell, origin, ("periodic",) * 3, "interface")
            continue
        cell = np.concatenate([edges, [(high - low + vacuum) * normal]])
        box = Box(cell, origin - 0.5 * vacuum * normal, ("periodic", "periodic", "vacuum"), "interface")
        place = box.fractional(sur.vectors)[:, :2]
        within = (place >= 0.0) & (place < 1.0)
        images = np.flatnonzero(within.all(axis=1) & (height >= low) & (height < high))
        core = np.linalg.norm(sur.vectors[images], axis=1) <= sur.cutoff
        sel, touching = drop_contacts(Selection(images, sur.vectors[images], core), box, sur)
        if touching is None:
            yield Cluster(box, sel)


def _gap(height: Floats, least: float, reach: float) -> float:
    """Middle of the widest gap between the heights of atoms from ``least`` on, up to ``reach`` farther, Å."""
    there = np.sort(height[(height >= least - 0.5 * reach) & (height <= least + reach)])
    if len(there) < 2:
        return least
    ends = np.maximum(there[:-1], least), there[1:]
    widest = int(np.argmax(ends[1] - ends[0]))
    return float(0.5 * (ends[0][widest] + ends[1][widest]))


def _smallest_pairs(pool: Floats, normal: Floats, width: float) -> list[Floats]:
    """Pairs of edges (2, 3) in the plane, wide enough for the core, no two of one shape; the smallest areas first."""
    flat = pool - np.outer(pool @ normal, normal)
    _, first = np.unique(np.round(flat, 1), axis=0, return_index=True)
    found: dict[tuple[float, ...], tuple[float, Floats]] = {}
    for a, b in combinations(flat[np.sort(first)][:60], 2):
        area = float(np.cross(a, b) @ normal)
        lengths = np.linalg.norm(a), np.linalg.norm(b)
        if abs(area) < width * max(lengths):
            continue
        key = (round(abs(area)), *sorted(round(float(length)) for length in lengths))
        if key not in found:
            found[key] = abs(area), np.array([a, b] if area > 0 else [b, a])
    return [edges for _, edges in sorted(found.values(), key=lambda one: one[0])[:N_PAIRS]]
