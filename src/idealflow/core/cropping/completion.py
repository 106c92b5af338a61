"""What a selection of atoms lacks or has too many of: parts of molecules, atoms at holes of the boundary, charge."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.contacts import Selection, contacts, nearest_image_distance
from idealflow.core.cropping.molecules import BODY
from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import Surroundings

__all__ = ["fill_seam", "neutralise", "whole_molecules"]

SEAM_DEPTH = 1.5
MOST_REMOVED = 6


def whole_molecules(
    sel: Selection, box: Box, sur: Surroundings, within: NDArray[np.bool_] | None = None
) -> tuple[Selection, NDArray[np.int64] | None, dict[str, float]]:
    """Take every molecule as a whole or not at all: those of core atoms, and those whose centre lies in the box.

    Parameters
    ----------
    sel
        The crop in the making.
    box
        Its cell.
    sur
        What it was cut from.
    within
        (n,) bool over the atoms of ``sur``: only their molecules are looked at. None: all.

    Returns
    -------
    tuple
        The selection; None; and how many atoms were ``completed`` (taken in) and ``left_out``. If a periodic image of a core
        molecule would stand in the core's sphere, the second is that image (3,) in cell vectors, and nothing is changed.
        Other molecules with such an image are left out.

    Examples
    --------
    A box that cuts through the second of two water molecules:

    >>> from ase.build import molecule
    >>> from idealflow.core.cropping.contacts import select
    >>> from idealflow.core.cropping.surroundings import survey
    >>> pair = molecule("H2O", vacuum=10.0)
    >>> second = molecule("H2O")
    >>> second.positions += pair.positions[0] + [0.0, 0.0, 4.0]
    >>> pair += second
    >>> sur = survey(pair, centre=0, cutoff=2.0, radius=9.0)
    >>> box = Box(np.diag([8.0, 8.0, 7.6]), np.array([-4.0, -4.0, -4.0]), ("periodic",) * 3, "cartesian")
    >>> part = select(sur, box)
    >>> whole, intruder, notes = whole_molecules(part, box, sur)
    >>> len(part.images), len(whole.images), notes
    (5, 3, {'completed': 0.0, 'left_out': 2.0})
    """
    free = np.flatnonzero(sur.molecule >= 0 if within is None else (sur.molecule >= 0) & within)
    if len(free) == 0:
        return sel, None, {}
    units, member = np.unique(sur.molecule[free], return_inverse=True)
    size = np.bincount(member)
    middle = np.stack([np.bincount(member, sur.vectors[free, axis]) / size for axis in range(3)], axis=1)
    frac = box.fractional(middle)
    inside = ((frac >= 0.0) & (frac < 1.0)).all(axis=1)
    of_core = np.isin(units, sur.molecule[sel.images[sel.core]])
    steps = np.array([s for s in product((-1, 0, 1), repeat=3) if s != (0, 0, 0)], dtype=np.int64)
    vectors, images = sur.vectors[free], steps @ box.cell
    squares = np.einsum("ij,ij->i", vectors, vectors)[:, None] + 2.0 * vectors @ images.T
    squares += np.einsum("ij,ij->i", images, images)
    entering = squares <= (sur.cutoff + 1e-6) ** 2
    # along kept edges the images are the frame's own, so they may stand there
    entering &= ~np.all([(steps[:, k] == 0) | (box.axes[k] == "kept") for k in range(3)], axis=0)[None, :]
    intrudes = np.bincount(member, entering.any(axis=1)) > 0
    stuck = (of_core & intrudes)[member] & entering.any(axis=1)
    if stuck.any():
        return sel, np.asarray(steps[np.flatnonzero(entering[np.flatnonzero(stuck)[0]])[0]]), {}
    taken = of_core | (inside & ~intrudes)
    before = np.isin(np.arange(len(sur.molecule)), sel.images)
    chosen = before.copy()
    chosen[free] = taken[member]
    rows = np.concatenate([sel.images[chosen[sel.images]], np.flatnonzero(chosen & ~before)])
    vectors = sur.vectors[rows]
    notes = {"completed": float((chosen & ~before).sum()), "left_out": float((before & ~chosen).sum())}
    return Selection(rows, vectors, nearest_image_distance(vectors, box) <= sur.cutoff), None, notes


def fill_seam(
    sel: Selection, box: Box, sur: Surroundings, rng: np.random.Generator, charges: dict[int, float] | None = None
) -> Selection:
    """Fill the holes that the boundary has left with atoms from just outside the box.

    Of an atom near a face and its copy at the opposite face, thermal motion may put both inside (one of them is removed) or
    both outside (a vacancy that the frame does not have). So atoms up to 1.5 Å outside a face are folded back into the box,
    and kept if they touch nothing, stay out of the core's sphere and do not make the crop denser than the frame.

    Where a crop is to be neutral, an atom is taken only if it brings the charge nearer to zero, or leaves it at no more than that
    of one ion. Small ions fit into holes where large ones touch, so that without this rule cells of a liquid oxide end with
    cations far too many to be removed again.

    Parameters
    ----------
    sel
        The crop in the making.
    box
        Its cell.
    sur
        What it was cut from.
    rng
        Source of the random order in which the atoms are tried.
    charges
        Oxidation state by atomic number, e, if the crop is to be neutral.

    Examples
    --------
    One atom is taken out near a face, and its copy from the other side fills the hole:

    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.contacts import select
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> box = Box(np.eye(3) * 10.83, np.full(3, -5.0), ("periodic",) * 3, "cartesian")
    >>> whole = select(sur, box)
    >>> corner = np.argmin(np.linalg.norm(whole.vectors + 3.6, axis=1))
    >>> rest = np.arange(len(whole.images)) != corner
    >>> holed = Selection(whole.images[rest], whole.vectors[rest], whole.core[rest])
    >>> len(holed.images), len(fill_seam(holed, box, sur, np.random.default_rng(0)).images)
    (107, 108)
    """
    frac = box.fractional(sur.vectors)
    movable = np.array([name == "periodic" for name in box.axes])
    empty = np.array([name == "vacuum" for name in box.axes])
    heights = box.heights
    depth = np.where(movable, SEAM_DEPTH / heights, 0.0)
    outside = ~((frac >= 0.0) & (frac < 1.0)).all(axis=1)
    near = outside & ((frac >= -depth) & (frac < 1.0 + depth)).all(axis=1)
    # along empty axes only as far as the crop's own atoms reach
    mine, slack = box.fractional(sel.vectors), SEAM_DEPTH / heights
    near &= (~empty | ((frac >= mine.min(axis=0) - slack) & (frac <= mine.max(axis=0) + slack))).all(axis=1)
    near &= (sur.molecule == BODY) & ~sur.gas & ~sur.adsorbed
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
    # one list of contacts for all; a new atom is taken if it touches none of those taken before it
    vectors = np.concatenate([sel.vectors, landed])
    numbers = sur.numbers[np.concatenate([sel.images, rows])]
    i, j, _, _ = contacts(numbers, vectors, box.cell, sur.limits, sur.molecule[np.concatenate([sel.images, rows])])
    taken = np.zeros(len(vectors), dtype=bool)
    taken[: len(sel.images)] = True
    charge = np.array([0.0 if charges is None else charges[int(z)] for z in numbers])
    total, one_ion = float(charge[: len(sel.images)].sum()), float(np.abs(charge).max())
    for new in range(len(sel.images), len(vectors)):
        if abs(total + charge[new]) > max(one_ion, abs(total) - 1e-9):
            continue
        if room > 0 and not taken[j[i == new]].any() and not (j[i == new] == new).any():
            taken[new] = True
            total += float(charge[new])
            room -= 1
    added = np.flatnonzero(taken[len(sel.images) :])
    return Selection(
        np.concatenate([sel.images, rows[added]]),
        np.concatenate([sel.vectors, landed[added]]),
        np.concatenate([sel.core, np.zeros(len(added), dtype=bool)]),
    )


def neutralise(sel: Selection, sur: Surroundings, charges: dict[int, float]) -> tuple[Selection, float]:
    """Remove the fewest shell atoms that make the sum of oxidation states zero, those farthest from the centre first.

    Parameters
    ----------
    sel
        The crop in the making.
    sur
        What it was cut from.
    charges
        Oxidation state by atomic number, e.

    Returns
    -------
    tuple
        The neutral selection and 0.0. If removing up to six atoms of each species does not make it neutral, the selection as it
        was and its charge, e.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.contacts import select
    >>> from idealflow.core.cropping.surroundings import survey
    >>> salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * 3
    >>> sur = survey(salt, centre=0, cutoff=3.0, radius=9.0)
    >>> odd = Box(np.eye(3) * 8.46, np.full(3, -4.23), ("periodic",) * 3, "cartesian")  # three layers a side
    >>> crop = select(sur, odd)
    >>> neutral, charge = neutralise(crop, sur, {11: 1.0, 17: -1.0})
    >>> len(crop.images), len(neutral.images), charge
    (27, 26, 0.0)
    """
    numbers = sur.numbers[sel.images]
    total = sum(charges[int(z)] for z in numbers)
    species = [int(z) for z in np.unique(numbers)]
    bound = sel.core | (sur.molecule[sel.images] != BODY)
    spare = [range(min(MOST_REMOVED, int((~bound & (numbers == z)).sum())) + 1) for z in species]
    ways = [
        way
        for way in product(*spare)
        if abs(total - sum(n * charges[z] for n, z in zip(way, species, strict=True))) < 1e-9
    ]
    if not ways:
        return sel, float(total)
    far = np.where(bound, -1.0, np.linalg.norm(sel.vectors, axis=1))
    keep = np.ones(len(numbers), dtype=bool)
    for count, z in zip(min(ways, key=sum), species, strict=True):
        mine = np.flatnonzero(numbers == z)
        keep[mine[np.argsort(-far[mine], kind="stable")[:count]]] = False
    return Selection(sel.images[keep], sel.vectors[keep], sel.core[keep]), 0.0
