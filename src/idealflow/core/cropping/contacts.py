"""Atoms that meet across the boundary of a crop: which ones touch, and which of them have to go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.cropping.molecules import bond_limit
from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import ContactLimits, Surroundings
from idealflow.core.descriptors.neighbours import neighbour_pairs

__all__ = [
    "Selection",
    "close_pairs",
    "composition_distance",
    "composition_error",
    "contacts",
    "drop_contacts",
    "nearest_image_distance",
    "select",
    "smallest_distance",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Selection:
    """The atoms of a crop in the making.

    Attributes
    ----------
    images : (n,) which atom images of the surroundings they are
    vectors : (n, 3) positions relative to the centre, Å; atoms that were folded in from outside the box stand inside it
    core : (n,) bool: within the cutoff of the centre

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> box = Box(np.eye(3) * 10.83, np.full(3, -5.0), ("periodic",) * 3, "cartesian")
    >>> chosen = select(sur, box)
    >>> len(chosen.images), int(chosen.core.sum())
    (108, 19)
    """

    images: Ints
    vectors: Floats
    core: Bools


def close_pairs(positions: Floats, cell: Floats, reach: float) -> tuple[Ints, Ints, Ints, Floats]:
    """List every ordered pair of atoms of a fully periodic cell within a distance.

    Parameters
    ----------
    positions : (n, 3) Å
    cell : (3, 3) rows, Å
    reach : largest distance, Å

    Returns
    -------
    tuple
        i (m,), j (m,), image of j in cell vectors (m, 3), vector from i to j (m, 3) in Å.

    Examples
    --------
    >>> i, j, shift, vector = close_pairs(np.zeros((1, 3)), np.eye(3) * 2.0, reach=2.1)
    >>> len(i), sorted(np.abs(vector).max(axis=1).tolist())
    (6, [2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    """
    offsets, j, shift, vector = neighbour_pairs(positions, cell, np.ones(3, dtype=bool), reach)
    i = np.repeat(np.arange(len(positions)), np.diff(offsets))
    return i, j.astype(np.int64), shift.astype(np.int64), vector


def kept_images(box: Box) -> Floats:
    """Translations (m, 3) along kept edges, Å, zero included: the frame is periodic along them and looks the same after each."""
    spans = [range(-3, 4) if name == "kept" else (0,) for name in box.axes]
    return np.array([[a, b, c] for a in spans[0] for b in spans[1] for c in spans[2]], dtype=float) @ box.cell


def nearest_image_distance(vectors: Floats, box: Box) -> Floats:
    """Distance (n,) from the centre to the nearest of each atom's images along kept edges, Å.

    Parameters
    ----------
    vectors : (n, 3) positions relative to the centre, Å
    box : the cell, whose axes say which edges are kept

    Examples
    --------
    >>> box = Box(np.eye(3) * 6.0, np.full(3, -3.0), ("kept", "periodic", "periodic"), "cartesian")
    >>> nearest_image_distance(np.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]]), box).tolist()
    [1.0, 5.0]
    """
    steps = kept_images(box)
    return np.asarray(np.linalg.norm(vectors[:, None, :] + steps[None, :, :], axis=2).min(axis=1), dtype=np.float64)


def select(sur: Surroundings, box: Box) -> Selection:
    """Take the atoms inside a box. Of two opposite faces one belongs to it, so that a box of lattice vectors has every site once.

    Parameters
    ----------
    sur
        The centre's surroundings.
    box
        The cell.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> box = Box(np.eye(3) * 10.83, np.full(3, -5.0), ("periodic",) * 3, "cartesian")
    >>> len(select(sur, box).images)  # 27 cubic cells of four atoms
    108
    """
    frac = box.fractional(sur.vectors)
    images = np.flatnonzero(((frac >= 0.0) & (frac < 1.0)).all(axis=1))
    vectors = sur.vectors[images]
    return Selection(images, vectors, nearest_image_distance(vectors, box) <= sur.cutoff)


def contacts(
    numbers: Ints, positions: Floats, cell: Floats, limits: ContactLimits, molecule: Ints | None = None
) -> tuple[Ints, Ints, Ints, Floats]:
    """List the ordered pairs of atoms that stand closer than their limit: i, j, image of j, distance.

    An atom of a molecule (where ``molecule``, (n,), is not negative) has to keep more than a bond's length from all atoms
    that are not of the same molecule.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    positions : (n, 3) Å
    cell : (3, 3) rows of a fully periodic cell, Å
    limits : smallest distances by pair of species
    molecule : (n,) number of each atom's molecule, or None

    Examples
    --------
    >>> positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 9.0]])  # 1 Å from the image below
    >>> i, j, image, distance = contacts(np.array([29, 29]), positions, np.eye(3) * 10.0, ContactLimits({"Cu-Cu": 2.0}))
    >>> i.tolist(), j.tolist(), image[0].tolist(), distance.tolist()
    ([0, 1], [1, 0], [0, 0, -1], [1.0, 1.0])
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
    """Fraction of atoms that would have to change species to give a composition (total variation distance).

    Parameters
    ----------
    numbers : (n,) atomic numbers
    composition : wanted fraction by atomic number

    Examples
    --------
    >>> composition_distance(np.array([8, 12, 12, 12]), {8: 0.5, 12: 0.5})
    0.25
    """
    species, counts = np.unique(numbers, return_counts=True)
    mine = {int(z): int(c) / len(numbers) for z, c in zip(species, counts, strict=True)}
    return 0.5 * sum(abs(mine.get(z, 0.0) - composition.get(z, 0.0)) for z in set(mine) | set(composition))


def composition_error(images: Ints, sur: Surroundings) -> float:
    """Fraction of a crop's atoms that would have to change species to give the wanted composition.

    Parameters
    ----------
    images : (n,) which atoms of the surroundings the crop has
    sur : what it was cut from; where it says so, gas and adsorbates do not count

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("NaCl", "rocksalt", a=5.64) * 4, centre=0, cutoff=3.0, radius=9.0)
    >>> composition_error(np.flatnonzero(sur.numbers == 11), sur)
    0.5
    """
    counted = images[sur.judged[images]]
    return composition_distance(sur.numbers[counted if len(counted) else images], sur.composition)


def drop_contacts(sel: Selection, box: Box, sur: Surroundings) -> tuple[Selection, NDArray[np.int64] | None]:
    """Remove shell atoms, molecules as a whole, until no two atoms touch across the boundary.

    The atom with most contacts goes first; of several the one whose species is in excess, then the one farthest from the centre.
    Core atoms and their molecules stay.

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
        The selection, and None. If two atoms touch that both have to stay, the selection as it was, and the image (3,) in which
        they touch, in cell vectors.

    Examples
    --------
    A box a tenth of an ångström too short for its crystal loses the atoms of one face:

    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> short = Box(np.diag([10.83, 10.83, 10.0]), np.array([-5.0, -5.0, -5.45]), ("periodic",) * 3, "cartesian")
    >>> before = select(sur, short)
    >>> after, unresolved = drop_contacts(before, short, sur)
    >>> len(before.images), len(after.images), unresolved is None
    (108, 90, True)
    """
    numbers, molecule = sur.numbers[sel.images], sur.molecule[sel.images]
    i, j, shift, distance = contacts(numbers, sel.vectors, box.cell, sur.limits, molecule)
    # atoms that are neighbours in the frame may be as near as they are there, a molecule and the metal below it too
    matrix, row = sur.limits.table(numbers)
    moved = (shift != 0) & np.array([name != "kept" for name in box.axes])
    met = moved.any(axis=1) | (distance < matrix[row[i], row[j]])
    i, j, shift = i[met], j[met], shift[met]
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


def smallest_distance(atoms: Atoms) -> float:
    """Smallest distance between two atoms of a fully periodic cell, own images included, Å.

    Examples
    --------
    >>> from ase.build import bulk
    >>> round(smallest_distance(bulk("Cu", cubic=True)), 3)
    2.553
    """
    reach = 3.0
    while True:
        vector = close_pairs(atoms.positions, np.asarray(atoms.cell.array, dtype=float), reach)[3]
        if len(vector):
            return float(np.linalg.norm(vector, axis=1).min())
        reach *= 1.5
