"""Hydrogen caps: atoms that close the covalent bonds which a crop cuts (Kong et al., note on organic systems)."""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.core.cropping.contacts import Selection, close_pairs, contacts
from idealflow.core.cropping.molecules import NONMETALS, bond_limit, covalent_bonds
from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import Surroundings

__all__ = ["OpenBondError", "hydrogen_caps"]

SAME_PLACE = 0.4
HYDROGEN = 1

Floats = NDArray[np.float64]


class OpenBondError(Exception):
    """A cut bond cannot be capped; the message says why.

    Examples
    --------
    >>> str(OpenBondError("a covalent bond is cut where its cap would touch another atom"))
    'a covalent bond is cut where its cap would touch another atom'
    """


def hydrogen_caps(sel: Selection, box: Box, sur: Surroundings) -> Floats:
    """Find places for hydrogen atoms that close the cut bonds of nonmetal atoms.

    A bond is cut when its other atom is not in the cell and no periodic image of the cell's atoms stands within 0.4 Å of that
    atom's place. The cap stands on the bond, its distance the sum of the covalent radii of the bonded atom and of hydrogen.

    Parameters
    ----------
    sel : the finished selection of atoms
    box : their cell
    sur : what they were cut from

    Returns
    -------
    (n, 3) array
        Positions relative to the centre, Å.

    Raises
    ------
    OpenBondError
        If a cap would stand inside the core's sphere, or closer to another atom than the limits allow; or if atoms meet
        across the boundary that are not bonded in the frame.

    Examples
    --------
    Half of an ethane molecule in a box: the cut C-C bond gets one cap.

    >>> from ase.build import molecule
    >>> from idealflow.core.cropping.contacts import select
    >>> from idealflow.core.cropping.surroundings import survey
    >>> ethane = molecule("C2H6", vacuum=6.0)
    >>> sur = survey(ethane, centre=0, cutoff=0.5, radius=6.0)
    >>> box = Box(np.eye(3) * 9.0, np.array([-4.5, -4.5, -0.7]), ("vacuum",) * 3, "cartesian")
    >>> hydrogen_caps(select(sur, box), box, sur).shape
    (1, 3)
    """
    pairs = covalent_bonds(sur.numbers, sur.vectors)
    _check_valences(sel, box, sur, np.bincount(pairs.ravel(), minlength=len(sur.numbers)))
    both_ways = np.concatenate([pairs, pairs[:, ::-1]])
    inside = np.isin(np.arange(len(sur.numbers)), sel.images)
    cut = both_ways[inside[both_ways[:, 0]] & ~inside[both_ways[:, 1]]]
    cut = cut[~_continued(sur.vectors[cut[:, 1]], sel, box)]
    if len(cut) == 0:
        return np.empty((0, 3))
    near, along = sur.vectors[cut[:, 0]], sur.vectors[cut[:, 1]] - sur.vectors[cut[:, 0]]
    length = covalent_radii[sur.numbers[cut[:, 0]]] + covalent_radii[HYDROGEN]
    caps = near + along * (length / np.linalg.norm(along, axis=1))[:, None]
    if np.linalg.norm(caps, axis=1).min() <= sur.cutoff:
        raise OpenBondError("a covalent bond of the core is cut, and its cap would stand in the core's sphere")
    numbers = np.concatenate([sur.numbers[sel.images], np.full(len(caps), HYDROGEN)])
    i, j, _, _ = contacts(numbers, np.concatenate([sel.vectors, caps]), box.cell, sur.limits)
    if (np.maximum(i, j) >= len(sel.images)).any():
        raise OpenBondError("a covalent bond is cut where its cap would touch another atom")
    return np.asarray(caps, dtype=np.float64)


def _continued(places: Floats, sel: Selection, box: Box) -> NDArray[np.bool_]:
    """Whether a periodic image of the cell's atoms stands at each place (n, 3)."""
    steps = np.array([[a, b, c] for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)], dtype=float)
    images = (sel.vectors[None, :, :] + (steps @ box.cell)[:, None, :]).reshape(-1, 3)
    return np.asarray(cKDTree(images).query(places)[0] < SAME_PLACE, dtype=np.bool_)


def _check_valences(sel: Selection, box: Box, sur: Surroundings, in_frame: NDArray[np.int64]) -> None:
    """Refuse a cell in which a nonmetal atom has more bonds than in the frame; `in_frame` (n_images,) counts those."""
    numbers = sur.numbers[sel.images]
    i, j, _, vector = close_pairs(sel.vectors, box.cell, float(bond_limit(numbers, numbers).max()))
    covalent = np.isin(numbers[i], NONMETALS) & np.isin(numbers[j], NONMETALS)
    bonded = covalent & (np.linalg.norm(vector, axis=1) < bond_limit(numbers[i], numbers[j]))
    if (np.bincount(i[bonded], minlength=len(numbers)) > in_frame[sel.images]).any():
        raise OpenBondError("atoms that are not bonded in the frame would bond across the boundary")
