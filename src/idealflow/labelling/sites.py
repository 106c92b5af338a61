"""Reading the atoms of an engine's document, and matching them with the atoms that were sent to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.errors import LabelError

__all__ = ["Sites", "order_of", "sites_of"]

_TOLERANCE = 1e-3  # Å: engines print at least four decimals; atoms are a thousand times further apart


@dataclass(frozen=True)
class Sites:
    """Atoms of an engine's document, in the document's order.

    Attributes
    ----------
    numbers
        (n,), atomic numbers.
    positions
        (n, 3), Å.
    cell
        (3, 3), Å; None for a molecule.

    Examples
    --------
    >>> sites_of({"sites": [{"species": [{"element": "H", "occu": 1}], "xyz": [0.0, 0.0, 0.0]}]})
    Sites(numbers=array([1]), positions=array([[0., 0., 0.]]), cell=None)
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64] | None


def sites_of(structure: Any) -> Sites:
    """Read the atoms of a pymatgen Structure or Molecule, given as an object or as its dictionary.

    Raises
    ------
    LabelError
        When a site holds anything but one whole atom of one element.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> sites_of(Structure(Lattice.cubic(3.0), ["Po"], [[0.5, 0.5, 0.5]])).positions.tolist()
    [[1.5, 1.5, 1.5]]
    """
    if isinstance(structure, Mapping):
        lattice = structure.get("lattice")
        cell = None if lattice is None else np.array(lattice["matrix"], dtype=float)
        kinds = [[(kind["element"], kind["occu"]) for kind in site["species"]] for site in structure["sites"]]
        positions = [site["xyz"] for site in structure["sites"]]
    else:
        cell = np.array(structure.lattice.matrix) if hasattr(structure, "lattice") else None
        kinds = [[(kind.symbol, amount) for kind, amount in site.species.items()] for site in structure]
        positions = [site.coords for site in structure]
    for i, kind in enumerate(kinds):
        if len(kind) != 1 or kind[0][1] != 1 or kind[0][0] not in atomic_numbers:
            raise LabelError(f"site {i} of the document must be one element, got {kind}")
    numbers = np.array([atomic_numbers[kind[0][0]] for kind in kinds], dtype=np.int64)
    return Sites(numbers, np.array(positions, dtype=float).reshape(-1, 3), cell)


def order_of(sites: Sites, atoms: Atoms) -> NDArray[np.int64]:
    """For every atom that was sent, the index of its site in the document.

    An engine may have reordered the sites and wrapped them by lattice vectors. No atom may have moved by more than 0.001 Å.

    Parameters
    ----------
    sites
        Atoms of the document.
    atoms
        The structure that was sent to be labelled.

    Returns
    -------
    (n_atoms,) int
        ``forces[order]`` are in the order of `atoms`.

    Raises
    ------
    LabelError
        When numbers of atoms or cells differ, or an atom has no site, of its species and at its position, for itself.

    Examples
    --------
    >>> from ase import Atoms
    >>> from pymatgen.core import Lattice, Structure
    >>> sites = sites_of(Structure(Lattice.cubic(3.0), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    >>> sent = Atoms("ClCs", [[1.5, 1.5, 1.5], [3.0, 0.0, 0.0]], cell=[3.0, 3.0, 3.0], pbc=True)
    >>> order_of(sites, sent).tolist()
    [1, 0]
    """
    if len(sites.numbers) != len(atoms):
        raise LabelError(f"the document has {len(sites.numbers)} sites, the structure sent {len(atoms)} atoms")
    if sites.cell is not None:
        worst = np.abs(sites.cell - atoms.cell.array).max()
        if worst > _TOLERANCE:
            raise LabelError(
                f"the document's cell differs from the one sent by up to {worst:.4g} Å (allowed {_TOLERANCE}); "
                "label with a static calculation that keeps cell and orientation"
            )
    order = _nearest_sites(sites, atoms)
    if (order < 0).any():
        i = int(np.argmax(order < 0))
        nearest = float(_distances(sites, atoms, i).min())
        raise LabelError(
            f"atom {i} ({chemical_symbols[atoms.numbers[i]]}) has no site of its species within {_TOLERANCE} Å in the "
            f"document (nearest {nearest:.4g} Å): not a static calculation of the structure sent"
        )
    if len(np.unique(order)) != len(order):
        raise LabelError("two atoms of the structure sent lie on one site of the document")
    return np.asarray(order, dtype=np.int64)


def _nearest_sites(sites: Sites, atoms: Atoms) -> NDArray[np.int64]:
    """Index of the nearest site of the same species for each atom, (n_atoms,); -1 where none lies within the tolerance.

    Periodic images of sites count.
    """
    order = np.full(len(atoms), -1, dtype=np.int64)
    radius = _TOLERANCE
    if sites.cell is None:
        theirs, mine, box = sites.positions, atoms.positions, None
    else:
        inverse = np.linalg.inv(sites.cell)
        theirs, mine, box = _wrapped(sites.positions @ inverse), _wrapped(atoms.positions @ inverse), 1.0
        # the tolerance in fractional coordinates, where it is longest
        radius = _TOLERANCE * float(np.linalg.norm(inverse, 2))
    for number in np.unique(atoms.numbers):
        rows, candidates = np.flatnonzero(atoms.numbers == number), np.flatnonzero(sites.numbers == number)
        if candidates.size == 0:
            continue
        tree = cKDTree(theirs[candidates], boxsize=box)
        for row, found in zip(rows, tree.query_ball_point(mine[rows], radius, return_sorted=True), strict=True):
            if found:
                near = candidates[found]
                distance = _distances(sites, atoms, int(row), near)
                if distance.min() <= _TOLERANCE:
                    order[row] = near[int(distance.argmin())]
    return order


def _wrapped(fractional: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = fractional - np.floor(fractional)
    inside[inside >= 1.0] = 0.0  # a value just below 0 is rounded up to 1
    return inside


def _distances(
    sites: Sites, atoms: Atoms, row: int, candidates: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Distance (m,), Å, from one atom to the nearest images of `candidates`, or of all sites of its species (inf without any)."""
    if candidates is None:
        candidates = np.flatnonzero(sites.numbers == atoms.numbers[row])
        if candidates.size == 0:
            return np.array([np.inf])
    shifts = atoms.positions[row] - sites.positions[candidates]
    if sites.cell is not None:
        fractional = shifts @ np.linalg.inv(sites.cell)
        # rounding finds the nearest image of a site that has not moved, however skewed the cell
        shifts = (fractional - np.rint(fractional)) @ sites.cell
    return np.asarray(np.linalg.norm(shifts, axis=1), dtype=np.float64)
