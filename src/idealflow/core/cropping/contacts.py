"""Atoms that meet across the boundary of a crop: which touch, which go, which are missing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.cropping.molecules import BODY, bond_limit
from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import ContactLimits, Surroundings
from idealflow.core.descriptors.neighbours import neighbour_pairs

__all__ = [
    "Selection",
    "close_pairs",
    "composition_distance",
    "drop_contacts",
    "fill_seam",
    "neutralise",
    "select",
    "smallest_distance",
    "whole_molecules",
]

SEAM_DEPTH = 1.5
MOST_REMOVED = 6

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Selection:
    """Atoms of a crop in the making.

    Attributes
    ----------
    images : (n,) rows of the surroundings
    vectors : (n, 3) positions relative to the centre, Å; atoms folded in from beyond the seam stand where they landed
    core : (n,) bool
    """

    images: Ints
    vectors: Floats
    core: Bools


def close_pairs(positions: Floats, cell: Floats, reach: float) -> tuple[Ints, Ints, Ints, Floats]:
    """List every ordered pair of atoms of a fully periodic cell within a distance.

    Returns
    -------
    tuple
        i (m,), j (m,), shift of j (m, 3), vector from i to j (m, 3) in Å.
    """
    offsets, j, shift, vector = neighbour_pairs(positions, cell, np.ones(3, dtype=bool), reach)
    i = np.repeat(np.arange(len(positions)), np.diff(offsets))
    return i, j.astype(np.int64), shift.astype(np.int64), vector


def kept_images(box: Box) -> Floats:
    """Translations (m, 3) along the kept edges under which the parent looks the same, Å; the zero one included."""
    spans = [range(-3, 4) if name == "kept" else (0,) for name in box.axes]
    return np.array([[a, b, c] for a in spans[0] for b in spans[1] for c in spans[2]], dtype=float) @ box.cell


def nearest_image_distance(vectors: Floats, box: Box) -> Floats:
    """Distance (n,) from the centre to the nearest image of each atom along the kept edges, Å."""
    steps = kept_images(box)
    return np.asarray(np.linalg.norm(vectors[:, None, :] + steps[None, :, :], axis=2).min(axis=1), dtype=np.float64)


def select(sur: Surroundings, box: Box) -> Selection:
    """Take the atoms inside a box, faces half-open, so that a box that fits the lattice takes every site once."""
    frac = box.fractional(sur.vectors)
    images = np.flatnonzero(((frac >= 0.0) & (frac < 1.0)).all(axis=1))
    vectors = sur.vectors[images]
    return Selection(images, vectors, nearest_image_distance(vectors, box) <= sur.cutoff)


def contacts(
    numbers: Ints, positions: Floats, cell: Floats, limits: ContactLimits, molecule: Ints | None = None
) -> tuple[Ints, Ints, Ints, Floats]:
    """Ordered pairs that stand closer than their limit: i, j, shift, distance.

    An atom of a molecule (`molecule` (n,) not negative) must keep more than a bond's length from whatever is not of it.
    """
    matrix, row = limits.table(numbers)
    some = molecule is not None and bool((molecule >= 0).any())
    reach = float(matrix.max())
    if some:
        reach = max(reach, float(bond_limit(numbers, numbers).max()))
    i, j, shift, vector = close_pairs(positions, cell, reach)
    distance = np.linalg.norm(vector, axis=1)
    close = distance < matrix[row[i], row[j]]
    if some and molecule is not None:
        free = (molecule[i] >= 0) | (molecule[j] >= 0)
        apart = (molecule[i] != molecule[j]) | (shift != 0).any(axis=1)
        close |= free & apart & (distance < bond_limit(numbers[i], numbers[j]))
    return i[close], j[close], shift[close], distance[close]


def composition_distance(numbers: Ints, composition: dict[int, float]) -> float:
    """Fraction of atoms that would have to change species to reach a composition (total variation distance)."""
    kinds, counts = np.unique(numbers, return_counts=True)
    mine = {int(z): int(c) / len(numbers) for z, c in zip(kinds, counts, strict=True)}
    return 0.5 * sum(abs(mine.get(z, 0.0) - composition.get(z, 0.0)) for z in set(mine) | set(composition))


def drop_contacts(sel: Selection, box: Box, sur: Surroundings) -> tuple[Selection, NDArray[np.int64] | None]:
    """Remove shell atoms, molecules whole, until nothing touches across the boundary.

    The atom in most contacts goes first; among equals the one whose species is in excess, then the one farthest from
    the centre. What holds a core atom stays.

    Returns
    -------
    tuple
        The selection, and the shift of a contact between two core atoms, which no removal can resolve (None if all
        is well).
    """
    numbers, molecule = sur.numbers[sel.images], sur.molecule[sel.images]
    i, j, shift, _ = contacts(numbers, sel.vectors, box.cell, sur.limits, molecule)
    fixed = sel.core | (np.isin(molecule, molecule[sel.core]) & (molecule >= 0))
    apart = (shift != 0).any(axis=1) | ~(fixed[i] & fixed[j])
    i, j, shift = i[apart], j[apart], shift[apart]
    both = fixed[i] & fixed[j]
    if both.any():
        return sel, np.asarray(shift[np.flatnonzero(both)[0]])
    far = np.linalg.norm(sel.vectors, axis=1)
    keep = np.ones(len(numbers), dtype=bool)
    while len(i):
        touching = np.unique(i[~fixed[i]])
        count = np.bincount(i, minlength=len(numbers))[touching]
        share = {int(z): float(np.mean(numbers[keep] == z)) for z in np.unique(numbers)}
        excess = [round(share[int(z)] - sur.composition.get(int(z), 0.0), 12) for z in numbers[touching]]
        gone = int(touching[np.lexsort((far[touching], excess, count))[-1]])
        with_it = molecule == molecule[gone] if molecule[gone] >= 0 else np.arange(len(numbers)) == gone
        keep &= ~with_it
        left = ~with_it[i] & ~with_it[j]
        i, j = i[left], j[left]
    return Selection(sel.images[keep], sel.vectors[keep], sel.core[keep]), None


def whole_molecules(
    sel: Selection, box: Box, sur: Surroundings
) -> tuple[Selection, NDArray[np.int64] | None, dict[str, float]]:
    """Take every molecule whole or not at all: those of core atoms, and those whose middle lies in the box.

    Parameters
    ----------
    sel, box, sur : the crop in the making

    Returns
    -------
    tuple
        The selection; the shift of an atom of a core molecule whose image would stand in the core's sphere (None if there
        is none; other molecules of which that is true are left out); and how many atoms were taken in and left out.
    """
    free = np.flatnonzero(sur.molecule >= 0)
    if len(free) == 0:
        return sel, None, {}
    units, member = np.unique(sur.molecule[free], return_inverse=True)
    size = np.bincount(member)
    middle = np.stack([np.bincount(member, sur.vectors[free, axis]) / size for axis in range(3)], axis=1)
    frac = box.fractional(middle)
    inside = ((frac >= 0.0) & (frac < 1.0)).all(axis=1)
    of_core = np.isin(units, sur.molecule[sel.images[sel.core]])
    steps = np.array([s for s in product((-1, 0, 1), repeat=3) if s != (0, 0, 0)], dtype=np.int64)
    landed = sur.vectors[free][:, None, :] + (steps @ box.cell)[None, :, :]
    entering = np.linalg.norm(landed, axis=2) <= sur.cutoff + 1e-6
    # the frame's own images along kept edges are where they belong
    entering &= ~np.all([(steps[:, k] == 0) | (box.axes[k] == "kept") for k in range(3)], axis=0)[None, :]
    intrudes = np.bincount(member, entering.any(axis=1)) > 0
    stuck = (of_core & intrudes)[member] & entering.any(axis=1)
    if stuck.any():
        return sel, np.asarray(steps[np.flatnonzero(entering[np.flatnonzero(stuck)[0]])[0]]), {}
    taken = of_core | (inside & ~intrudes)
    before = np.isin(np.arange(len(sur.molecule)), sel.images)
    chosen = before.copy()
    chosen[free] = taken[member]
    images = np.concatenate([sel.images[chosen[sel.images]], np.flatnonzero(chosen & ~before)])
    vectors = sur.vectors[images]
    notes = {"completed": float((chosen & ~before).sum()), "left_out": float((before & ~chosen).sum())}
    return Selection(images, vectors, nearest_image_distance(vectors, box) <= sur.cutoff), None, notes


def fill_seam(sel: Selection, box: Box, sur: Surroundings, rng: np.random.Generator) -> Selection:
    """Fold in atoms from just outside the box where the seam has left a hole for them.

    Thermal motion puts an atom and its copy across the seam on either side of the two faces: sometimes both inside
    (the contact is removed), sometimes both outside (a vacancy that the frame does not have). Atoms within 1.5 Å
    outside a face are folded back into the box and kept if they touch nothing, stay out of the core sphere and do not
    make the crop denser than the frame.

    Parameters
    ----------
    sel, box, sur : the crop in the making
    rng : order in which the atoms are tried
    """
    frac = box.fractional(sur.vectors)
    movable = np.array([name == "periodic" for name in box.axes])
    empty = np.array([name == "vacuum" for name in box.axes])
    heights = 1.0 / np.linalg.norm(np.linalg.inv(box.cell), axis=0)
    depth = np.where(movable, SEAM_DEPTH / heights, 0.0)
    outside = ~((frac >= 0.0) & (frac < 1.0)).all(axis=1)
    near = outside & ((frac >= -depth) & (frac < 1.0 + depth)).all(axis=1)
    # along empty axes only as far as the crop's own atoms reach
    mine, slack = box.fractional(sel.vectors), SEAM_DEPTH / heights
    near &= (~empty | ((frac >= mine.min(axis=0) - slack) & (frac <= mine.max(axis=0) + slack))).all(axis=1)
    near &= sur.molecule == BODY
    if not near.any():
        return sel
    rows = rng.permutation(np.flatnonzero(near))
    landed = sur.vectors[rows] - np.floor(frac[rows]) @ box.cell
    free = nearest_image_distance(landed, box) > sur.cutoff + 1e-6
    rows, landed = rows[free], landed[free]
    most = round(sur.density * abs(np.linalg.det(box.cell)))
    room = most - len(sel.images)
    if room <= 0 or len(rows) == 0:
        return sel
    # one neighbour list for everything; a newcomer is taken if no taken atom lies within reach of it
    vectors = np.concatenate([sel.vectors, landed])
    numbers = sur.numbers[np.concatenate([sel.images, rows])]
    i, j, _, _ = contacts(numbers, vectors, box.cell, sur.limits, sur.molecule[np.concatenate([sel.images, rows])])
    taken = np.zeros(len(vectors), dtype=bool)
    taken[: len(sel.images)] = True
    for new in range(len(sel.images), len(vectors)):
        if room > 0 and not taken[j[i == new]].any() and not (j[i == new] == new).any():
            taken[new] = True
            room -= 1
    added = np.flatnonzero(taken[len(sel.images) :])
    return Selection(
        np.concatenate([sel.images, rows[added]]),
        np.concatenate([sel.vectors, landed[added]]),
        np.concatenate([sel.core, np.zeros(len(added), dtype=bool)]),
    )


def neutralise(sel: Selection, sur: Surroundings, charges: dict[int, float]) -> tuple[Selection, float]:
    """Remove the fewest shell atoms, farthest from the centre first, that bring the oxidation states to zero.

    Parameters
    ----------
    sel, sur : the crop in the making
    charges : oxidation state by atomic number

    Returns
    -------
    tuple
        The neutral selection and 0.0; or the selection as it was and its charge, where no removal of up to six atoms
        of each species makes it neutral.
    """
    numbers = sur.numbers[sel.images]
    total = sum(charges[int(z)] for z in numbers)
    kinds = [int(z) for z in np.unique(numbers)]
    bound = sel.core | (sur.molecule[sel.images] != BODY)
    spare = [range(min(MOST_REMOVED, int((~bound & (numbers == z)).sum())) + 1) for z in kinds]
    ways = [
        way
        for way in product(*spare)
        if abs(total - sum(n * charges[z] for n, z in zip(way, kinds, strict=True))) < 1e-9
    ]
    if not ways:
        return sel, float(total)
    far = np.where(bound, -1.0, np.linalg.norm(sel.vectors, axis=1))
    keep = np.ones(len(numbers), dtype=bool)
    for count, z in zip(min(ways, key=sum), kinds, strict=True):
        mine = np.flatnonzero(numbers == z)
        keep[mine[np.argsort(-far[mine], kind="stable")[:count]]] = False
    return Selection(sel.images[keep], sel.vectors[keep], sel.core[keep]), 0.0


def smallest_distance(atoms: Atoms) -> float:
    """Smallest distance between two atoms of a fully periodic cell, own images included, Å."""
    reach = 3.0
    while True:
        vector = close_pairs(atoms.positions, np.asarray(atoms.cell.array, dtype=float), reach)[3]
        if len(vector):
            return float(np.linalg.norm(vector, axis=1).min())
        reach *= 1.5
