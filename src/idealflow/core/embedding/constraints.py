"""What the relaxation of a shell may not break, as smooth penalties with exact gradients and as hard checks.

There are four rules: no two atoms stand closer than their limit, what belongs together stays together (the atoms of a molecule,
an adsorbate and its metal: :mod:`idealflow.core.embedding.bonds`), nothing but the core stands inside the centre's sphere, and
no two free faces are closer than twice the cutoff (else an image sees the core, or an atom its own image). A fifth penalty,
without a hard check, pulls the volume per atom towards that of the frame around the centre. Without it the uncertainty alone
decides the density, and a model that knows a crystal makes the cells of a liquid too thin (docs/explanation/method.md, "The
relaxation of the shell").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.crop import Crop
from idealflow.core.cropping.surroundings import ContactLimits, heights_of
from idealflow.core.descriptors.neighbours import NeighbourGrid
from idealflow.core.embedding.bonds import find_bonds

__all__ = ["Breaches", "GeometryRules"]

CONTACT_BUFFER = 1.06
SPHERE_BUFFER = 0.04
WIDTH_BUFFER = 0.04
STIFFNESS = 30.0
#: bonds are short and keep a narrow range, so that their penalty rises more steeply; it begins this part of the range before
#: its ends
BOND_STIFFNESS = 300.0
BOND_BUFFER = 0.3
#: an error of 1 % in the volume costs 0.05, one of 5 % costs 1.25; objectives are of order 1
VOLUME_STIFFNESS = 500.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Breaches:
    """How far a geometry is from breaking each rule; negative means broken.

    Attributes
    ----------
    contact : smallest ratio of a distance to its limit, minus 1
    sphere : distance from the core's sphere to the nearest atom that does not belong in it, Å
    width : smallest free perpendicular width minus twice the cutoff, Å
    bond : smallest distance of a pair that belongs together from the ends of its range, Å

    Examples
    --------
    >>> Breaches(contact=0.02, sphere=-0.1, width=0.5).allowed
    False
    """

    contact: float
    sphere: float
    width: float
    bond: float = 0.0

    @property
    def allowed(self) -> bool:
        """True if no rule is broken."""
        return self.contact >= 0.0 and self.sphere >= 0.0 and self.width >= -1e-9 and self.bond >= -1e-9


class GeometryRules:
    """The rules of one crop.

    Parameters
    ----------
    crop
        The crop whose shell moves; the atoms of its core are those that may stand in the sphere.
    cutoff
        Radius of the sphere, Å.
    limits
        Smallest distances allowed between atoms.

    Examples
    --------
    A crop keeps the rules as it was cut, and breaks them where an atom is pushed onto the core:

    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel, crop_search
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> frame.rattle(0.1, seed=2)
    >>> crop = crop_search(u, frame, 99, n_candidates=5, max_atoms=150)[0]
    >>> rules = GeometryRules(crop, u.cutoff, crop.limits)
    >>> rules.penalty(crop.atoms.positions, crop.atoms.cell.array)[3].allowed
    True
    >>> pushed = crop.atoms.positions.copy()
    >>> pushed[crop.shell.argmax()] = pushed[crop.centre] + [0.5, 0.0, 0.0]
    >>> rules.penalty(pushed, crop.atoms.cell.array)[3].allowed
    False
    """

    def __init__(self, crop: Crop, cutoff: float, limits: ContactLimits) -> None:
        self._cutoff = cutoff
        self._core = crop.core
        self._centre = np.array([crop.centre], dtype=np.int64)
        self._limit, self._row = limits.table(crop.atoms.numbers)
        self._expected_volume = crop.expected_volume
        self._free = np.array([name == "periodic" for name in crop.axes])
        positions = crop.atoms.positions
        bonds = find_bonds(crop.atoms.numbers, positions, np.asarray(crop.atoms.cell.array, dtype=float))
        within = self._core[bonds.i] & self._core[bonds.j] & (bonds.shift == 0).all(axis=1)
        self._bonds = bonds.only(~within)
        self._contact_reach = CONTACT_BUFFER * float(self._limit.max())
        grid = self._grid(positions, np.asarray(crop.atoms.cell.array, dtype=float))
        _, j, shift, _ = grid.pairs(self._centre, within=cutoff)
        belongs = self._core[j]
        self._own = {(int(a), *map(int, s)) for a, s in zip(j[belongs], shift[belongs], strict=True)}

    def _grid(self, positions: Floats, cell: Floats) -> NeighbourGrid:
        """All atoms, sorted for the search of contacts and of what stands in the sphere."""
        reach = max(self._contact_reach, self._cutoff + SPHERE_BUFFER)
        return NeighbourGrid(positions, cell, np.ones(3, dtype=bool), reach)

    def penalty(self, positions: Floats, cell: Floats) -> tuple[float, Floats, Floats, Breaches]:
        """Evaluate the smooth penalties, and how far the geometry is from breaking the hard rules.

        Parameters
        ----------
        positions : (n, 3) Å
        cell : (3, 3) rows, Å

        Returns
        -------
        tuple
            Penalty (dimensionless); its gradient in positions (n, 3) and in the cell at fixed positions (3, 3), both per Å;
            how far the geometry is from breaking each rule.
        """
        by_position = np.zeros_like(positions)
        by_cell = np.zeros((3, 3))
        grid = self._grid(positions, cell)
        contact_value, contact = self._contacts(grid, by_position, by_cell)
        sphere_value, sphere = self._sphere(grid, by_position, by_cell)
        width_value, width = self._widths(cell, by_cell)
        bond_value, bond = self._ranges(positions, cell, by_position, by_cell)
        volume_value = self._volume(cell, by_cell)
        return (
            contact_value + sphere_value + width_value + volume_value + bond_value,
            by_position,
            by_cell,
            Breaches(contact, sphere, width, bond),
        )

    def _contacts(self, grid: NeighbourGrid, by_position: Floats, by_cell: Floats) -> tuple[float, float]:
        offsets, j, shift, vector = grid.pairs(within=self._contact_reach)
        i = np.repeat(np.arange(len(by_position)), np.diff(offsets))
        moves = ~(self._core[i] & self._core[j] & (shift == 0).all(axis=1))
        if not moves.any():
            return 0.0, CONTACT_BUFFER - 1.0
        distance = np.sqrt(np.einsum("ij,ij->i", vector, vector))
        limit = self._limit[self._row[i], self._row[j]]
        closest = float((distance[moves] / limit[moves]).min() - 1.0)
        near = np.flatnonzero(moves & (distance < CONTACT_BUFFER * limit))
        depth = CONTACT_BUFFER * limit[near] - distance[near]
        # every pair is listed twice, once from each atom, so each entry counts half
        pull = -STIFFNESS * (depth / np.maximum(distance[near], 1e-9))[:, None] * vector[near]
        np.add.at(by_position, j[near], pull)
        np.add.at(by_position, i[near], -pull)
        by_cell += shift[near].astype(float).T @ pull
        return 0.5 * STIFFNESS * float((depth**2).sum()), closest

    def _ranges(self, positions: Floats, cell: Floats, by_position: Floats, by_cell: Floats) -> tuple[float, float]:
        bonds = self._bonds
        if len(bonds.i) == 0:
            return 0.0, 0.0
        distance, vector = bonds.distances(positions, cell)
        buffer = BOND_BUFFER * np.where(bonds.least > 0.0, 0.5 * (bonds.most - bonds.least), 0.1 * bonds.most)
        over = np.maximum(0.0, distance - (bonds.most - buffer))
        under = np.where(bonds.least > 0.0, np.maximum(0.0, bonds.least + buffer - distance), 0.0)
        pull = 2.0 * BOND_STIFFNESS * ((over - under) / np.maximum(distance, 1e-9))[:, None] * vector
        np.add.at(by_position, bonds.j, pull)
        np.add.at(by_position, bonds.i, -pull)
        by_cell += bonds.shift.T @ pull
        ends = np.minimum(bonds.most - distance, np.where(bonds.least > 0.0, distance - bonds.least, np.inf))
        return BOND_STIFFNESS * float((over**2 + under**2).sum()), float(ends.min())

    def _sphere(self, grid: NeighbourGrid, by_position: Floats, by_cell: Floats) -> tuple[float, float]:
        _, j, shift, vector = grid.pairs(self._centre, within=self._cutoff + SPHERE_BUFFER)
        places = zip(j.tolist(), shift.tolist(), strict=True)
        foreign = np.array([(a, b, c, d) not in self._own for a, (b, c, d) in places], dtype=bool)
        if not foreign.any():
            return 0.0, SPHERE_BUFFER
        j, shift, vector = j[foreign], shift[foreign], vector[foreign]
        distance = np.linalg.norm(vector, axis=1)
        depth = self._cutoff + SPHERE_BUFFER - distance
        pull = -2.0 * STIFFNESS * (depth / np.maximum(distance, 1e-9))[:, None] * vector
        np.add.at(by_position, j, pull)
        by_cell += shift.astype(float).T @ pull
        return STIFFNESS * float((depth**2).sum()), float(distance.min() - self._cutoff)

    def _widths(self, cell: Floats, by_cell: Floats) -> tuple[float, float]:
        if not self._free.any():
            return 0.0, WIDTH_BUFFER
        inverse = np.linalg.inv(cell)
        heights = heights_of(cell)
        value = 0.0
        for k in np.flatnonzero(self._free):
            depth = 2.0 * self._cutoff + WIDTH_BUFFER - heights[k]
            if depth > 0.0:
                value += STIFFNESS * depth**2
                normal = inverse[:, k]
                slope = heights[k] ** 3 * np.outer(inverse.T @ normal, normal)
                by_cell += -2.0 * STIFFNESS * depth * slope
        return value, float(heights[self._free].min() - 2.0 * self._cutoff)

    def _volume(self, cell: Floats, by_cell: Floats) -> float:
        if self._expected_volume is None or not self._free.any():
            return 0.0
        volume = float(np.linalg.det(cell))
        excess = volume / self._expected_volume - 1.0
        by_cell += 2.0 * VOLUME_STIFFNESS * excess * (volume / self._expected_volume) * np.linalg.inv(cell).T
        return VOLUME_STIFFNESS * excess**2
