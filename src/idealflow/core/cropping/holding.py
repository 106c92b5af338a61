"""Crops of surfaces: which adsorbates have lost their metal, and the gas in the empty space of a cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.completion import whole_molecules
from idealflow.core.cropping.contacts import Selection, close_pairs
from idealflow.core.cropping.molecules import BODY, INCOMPLETE, NONMETALS
from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import Surroundings

__all__ = ["around_anchors", "drop_dangling", "drop_loose", "with_gas_as_asked", "without_cut_gas"]

#: an adsorbate is held by a metal atom at most this many times as far away as its nearest one in the frame
HELD = 1.05
#: nearest-neighbour distances within which a body's atoms are neighbours, and the part of them that an atom has to keep
NEIGHBOURS, LEAST_KEPT = 1.25, 0.4
#: how far beyond an anchor a face is set, Å
BEYOND = 0.3

Bools = NDArray[np.bool_]


def loose_adsorbates(sel: Selection, box: Box, sur: Surroundings) -> Bools:
    """Tell which atoms (n,) of a selection are adsorbed in the frame and have no metal in the cell."""
    loose = np.zeros(len(sel.images), dtype=bool)
    mine = np.flatnonzero(sur.adsorbed[sel.images])
    if len(mine) == 0:
        return loose
    anchors = sur.anchor[sel.images[mine]]
    alone = ~np.isin(anchors, sel.images)
    mine, anchors = mine[alone], anchors[alone]
    if len(mine) == 0:
        return loose
    reach = HELD * np.linalg.norm(sur.vectors[anchors] - sur.vectors[sel.images[mine]], axis=1)
    i, j, _, vector = close_pairs(sel.vectors, box.cell, float(reach.max()))
    metal = ~np.isin(sur.numbers[sel.images], NONMETALS)
    distance = np.full(len(sel.images), np.inf)
    np.minimum.at(distance, i[metal[j]], np.linalg.norm(vector[metal[j]], axis=1))
    loose[mine] = distance[mine] > reach
    return loose


def drop_loose(sel: Selection, box: Box, sur: Surroundings) -> tuple[Selection, bool]:
    """Leave out adsorbates whose metal is not in the cell, molecules as a whole.

    Parameters
    ----------
    sel
        The crop in the making.
    box
        Its cell.
    sur
        What it was cut from.

    Returns
    -------
    tuple
        The selection, and whether the core holds such an atom; then the selection is unchanged.

    Examples
    --------
    A box that takes the oxygen of a copper surface without the copper below it:

    >>> from ase.build import add_adsorbate, fcc111
    >>> from idealflow.core.cropping.contacts import select
    >>> from idealflow.core.cropping.surroundings import survey
    >>> slab = fcc111("Cu", (4, 4, 3), vacuum=8.0, periodic=True)
    >>> add_adsorbate(slab, "O", 1.2, "fcc")
    >>> sur = survey(slab, centre=20, cutoff=3.0, radius=12.0)
    >>> oxygen = int(np.flatnonzero(sur.numbers == 8)[0])
    >>> floor = sur.vectors[oxygen] - [1.0, 1.0, 0.5]
    >>> box = Box(np.eye(3) * 4.0, floor, ("periodic",) * 3, "cartesian")
    >>> alone = select(sur, box)
    >>> len(alone.images), [len(part.images) if hasattr(part, "images") else part for part in drop_loose(alone, box, sur)]
    (1, [0, False])
    """
    loose = loose_adsorbates(sel, box, sur)
    if not loose.any():
        return sel, False
    molecule = sur.molecule[sel.images]
    gone = loose | ((molecule != BODY) & np.isin(molecule, molecule[loose & (molecule != BODY)]))
    if (gone & sel.core).any():
        return sel, True
    return Selection(sel.images[~gone], sel.vectors[~gone], sel.core[~gone]), False


def drop_dangling(sel: Selection, box: Box, sur: Surroundings) -> Selection:
    """Leave out shell atoms of bodies that have kept less than two fifths of their neighbours, until there are none.

    Beside empty space a box takes in corners of other faces, of which single atoms would float in the vacuum of the crop.

    Parameters
    ----------
    sel
        The crop in the making.
    box
        Its cell.
    sur
        What it was cut from.

    Examples
    --------
    A single atom of another face is left out:

    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> box = Box(np.eye(3) * 30.0, np.full(3, -15.0), ("vacuum",) * 3, "cluster")
    >>> distance = np.linalg.norm(sur.vectors, axis=1)
    >>> some = np.append(np.flatnonzero(distance < 6.0), np.flatnonzero(distance > 10.0)[0])
    >>> ball = Selection(some, sur.vectors[some], distance[some] <= 4.0)
    >>> len(ball.images) - len(drop_dangling(ball, box, sur).images)
    1
    """
    reach = NEIGHBOURS * sur.nearest
    body = sur.solid
    while True:
        mine = np.flatnonzero(body[sel.images] & ~sel.core)
        if len(mine) == 0:
            return sel
        in_frame = sur.solid_neighbours(reach)[sel.images[mine]]
        i, j, _, _ = close_pairs(sel.vectors, box.cell, reach)
        count = np.bincount(i[body[sel.images[j]]], minlength=len(sel.images))[mine]
        gone = mine[count < LEAST_KEPT * in_frame]
        if len(gone) == 0:
            return sel
        stays = np.setdiff1d(np.arange(len(sel.images)), gone)
        sel = Selection(sel.images[stays], sel.vectors[stays], sel.core[stays])


def around_anchors(box: Box, sur: Surroundings) -> Box:
    """Enlarge a box until it holds the metal atom of every adsorbate of the core.

    Parameters
    ----------
    box : the box
    sur : what is cut

    Examples
    --------
    Oxygen on copper, in a box that ends above the copper:

    >>> from ase.build import add_adsorbate, fcc111
    >>> from idealflow.core.cropping.surroundings import survey
    >>> slab = fcc111("Cu", (4, 4, 3), vacuum=8.0, periodic=True)
    >>> add_adsorbate(slab, "O", 1.2, "fcc")
    >>> sur = survey(slab, centre=48, cutoff=1.0, radius=12.0)
    >>> box = Box(np.eye(3) * 6.0, np.array([-3.0, -3.0, -1.0]), ("periodic",) * 3, "cartesian")
    >>> round(float(around_anchors(box, sur).origin[2]), 3)  # 1.2 Å to the copper, and 0.3 Å beyond
    -1.5
    """
    core = np.linalg.norm(sur.vectors, axis=1) <= sur.cutoff
    anchors = np.unique(sur.anchor[core & sur.adsorbed])
    heights = box.heights
    frac = box.fractional(sur.vectors[anchors])
    for axis in range(3):
        if box.axes[axis] != "kept" and len(anchors):
            below, above = -frac[:, axis].min() * heights[axis], (frac[:, axis].max() - 1.0) * heights[axis]
            box = box.stretched(
                axis, below + BEYOND if below > -BEYOND else 0.0, above + BEYOND if above > -BEYOND else 0.0
            )
    return box


def without_cut_gas(sel: Selection, sur: Surroundings) -> Selection:
    """Leave out gas molecules that extend past the search radius.

    Parameters
    ----------
    sel : the crop in the making
    sur : what it was cut from

    Examples
    --------
    Here none does:

    >>> from ase.build import fcc111, molecule
    >>> from idealflow.core.cropping.contacts import select
    >>> from idealflow.core.cropping.surroundings import survey
    >>> slab = fcc111("Cu", (4, 4, 4), vacuum=9.0, periodic=True)
    >>> above = molecule("N2")
    >>> above.positions += slab.positions[60] + [0.0, 0.0, 6.0]
    >>> sur = survey(slab + above, centre=60, cutoff=4.0, radius=12.0)
    >>> box = Box(np.diag([8.0, 8.0, 18.0]), np.array([-4.0, -4.0, -5.0]), ("periodic", "periodic", "vacuum"), "surface")
    >>> sel = select(sur, box)
    >>> len(without_cut_gas(sel, sur).images) == len(sel.images)
    True
    """
    stays = ~(sur.gas[sel.images] & (sur.molecule[sel.images] == INCOMPLETE)) | sel.core
    return Selection(sel.images[stays], sel.vectors[stays], sel.core[stays])


def with_gas_as_asked(sel: Selection, box: Box, sur: Surroundings, wanted: bool) -> Selection:
    """Take all gas molecules in a cell with vacuum, or none but those of the core.

    Parameters
    ----------
    sel : the crop in the making
    box : its cell, with its vacuum
    sur : what it was cut from
    wanted : whether gas that is not of the core belongs to the crop

    Examples
    --------
    >>> from ase.build import fcc111, molecule
    >>> from idealflow.core.cropping.contacts import select
    >>> from idealflow.core.cropping.surroundings import survey
    >>> slab = fcc111("Cu", (4, 4, 4), vacuum=9.0, periodic=True)
    >>> above = molecule("N2")
    >>> above.positions += slab.positions[60] + [0.0, 0.0, 6.0]
    >>> sur = survey(slab + above, centre=60, cutoff=4.0, radius=12.0)
    >>> box = Box(np.diag([8.0, 8.0, 18.0]), np.array([-4.0, -4.0, -5.0]), ("periodic", "periodic", "vacuum"), "surface")
    >>> sel = select(sur, box)
    >>> len(with_gas_as_asked(sel, box, sur, True).images) - len(with_gas_as_asked(sel, box, sur, False).images)
    2
    """
    molecule = sur.molecule[sel.images]
    of_core = sel.core | ((molecule >= 0) & np.isin(molecule, molecule[sel.core]))
    if wanted:
        return whole_molecules(sel, box, sur, within=sur.gas)[0]
    stays = ~sur.gas[sel.images] | of_core
    return Selection(sel.images[stays], sel.vectors[stays], sel.core[stays])
