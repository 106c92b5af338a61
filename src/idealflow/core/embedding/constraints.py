"""What the relaxation of a shell must not break, as smooth penalties with exact gradients and as hard checks.

Three rules hold the geometry: no two atoms closer than their limit, nothing but the core inside the centre's sphere,
and no free pair of faces closer than twice the cutoff (an image could see the core, and an atom its own image). A fourth
penalty, without a hard check, draws the volume per atom to that of the frame around the centre: without it the uncertainty
alone sets the density, and a model that knows a crystal makes a liquid's cells too thin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.crop import Crop
from idealflow.core.cropping.surroundings import ContactLimits, heights_of
from idealflow.core.descriptors.neighbours import neighbour_pairs

__all__ = ["Breaches", "GeometryRules"]

CONTACT_BUFFER = 1.06
SPHERE_BUFFER = 0.04
WIDTH_BUFFER = 0.04
STIFFNESS = 30.0
#: beside objectives of order 1: an error of 1 % in the volume costs 0.05, one of 5 % 1.25
VOLUME_STIFFNESS = 500.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Breaches:
    """How far a geometry is from breaking each rule; negative means broken.

    Attributes
    ----------
    contact : smallest distance over its limit, minus 1
    sphere : distance from the core sphere to the nearest atom that does not belong in it, Å
    width : smallest free perpendicular width minus twice the cutoff, Å
    """

    contact: float
    sphere: float
    width: float

    @property
    def allowed(self) -> bool:
        """True if no rule is broken."""
        return self.contact >= 0.0 and self.sphere >= 0.0 and self.width >= -1e-9


class GeometryRules:
    """The rules of one crop.

    Parameters
    ----------
    crop
        The crop whose shell moves; its core defines the sphere.
    cutoff
        Å; radius of the sphere.
    limits
        Smallest distances.
    """

    def __init__(self, crop: Crop, cutoff: float, limits: ContactLimits) -> None:
        self._cutoff = cutoff
        self._core = crop.core
        self._centre = np.array([crop.centre], dtype=np.int64)
        self._limit, self._row = limits.table(crop.atoms.numbers)
        self._expected_volume = crop.expected_volume
        self._free = np.array([name == "periodic" for name in crop.axes])
        positions = crop.atoms.positions
        j, shift, _ = self._around_centre(positions, np.asarray(crop.atoms.cell.array, dtype=float), cutoff)
        belongs = self._core[j]
        self._own = {(int(a), *map(int, s)) for a, s in zip(j[belongs], shift[belongs], strict=True)}

    def _around_centre(self, positions: Floats, cell: Floats, reach: float) -> tuple[NDArray[np.int64], Floats, Floats]:
        """Neighbours of the centre: index, shift, vector."""
        _, j, shift, vector = neighbour_pairs(positions, cell, np.ones(3, dtype=bool), reach, self._centre)
        return j.astype(np.int64), shift.astype(float), vector

    def penalty(self, positions: Floats, cell: Floats) -> tuple[float, Floats, Floats, Breaches]:
        """Evaluate the smooth penalties and the margins of the hard rules.

        Parameters
        ----------
        positions : (n, 3) Å
        cell : (3, 3) rows, Å

        Returns
        -------
        tuple
            Penalty (dimensionless), its gradient in positions (n, 3) and in the cell at fixed positions (3, 3), both
            per Å, and the margins.
        """
        by_position = np.zeros_like(positions)
        by_cell = np.zeros((3, 3))
        contact_value, contact = self._contacts(positions, cell, by_position, by_cell)
        sphere_value, sphere = self._sphere(positions, cell, by_position, by_cell)
        width_value, width = self._widths(cell, by_cell)
        volume_value = self._volume(cell, by_cell)
        return (
            contact_value + sphere_value + width_value + volume_value,
            by_position,
            by_cell,
            Breaches(contact, sphere, width),
        )

    def _contacts(self, positions: Floats, cell: Floats, by_position: Floats, by_cell: Floats) -> tuple[float, float]:
        reach = CONTACT_BUFFER * float(self._limit.max())
        offsets, j, shift, vector = neighbour_pairs(positions, cell, np.ones(3, dtype=bool), reach)
        i = np.repeat(np.arange(len(positions)), np.diff(offsets))
        untouched = self._core[i] & self._core[j] & (shift == 0).all(axis=1)
        i, j, shift, vector = i[~untouched], j[~untouched], shift[~untouched], vector[~untouched]
        if len(i) == 0:
            return 0.0, CONTACT_BUFFER - 1.0
        distance = np.linalg.norm(vector, axis=1)
        limit = self._limit[self._row[i], self._row[j]]
        depth = np.maximum(0.0, CONTACT_BUFFER * limit - distance)
        # every pair is listed from both ends, so each listing carries half of the pair
        pull = -STIFFNESS * (depth / np.maximum(distance, 1e-9))[:, None] * vector
        np.add.at(by_position, j, pull)
        np.add.at(by_position, i, -pull)
        by_cell += shift.astype(float).T @ pull
        return 0.5 * STIFFNESS * float((depth**2).sum()), float((distance / limit).min() - 1.0)

    def _sphere(self, positions: Floats, cell: Floats, by_position: Floats, by_cell: Floats) -> tuple[float, float]:
        j, shift, vector = self._around_centre(positions, cell, self._cutoff + SPHERE_BUFFER)
        foreign = np.array([(int(a), *map(int, s)) not in self._own for a, s in zip(j, shift, strict=True)], dtype=bool)
        if not foreign.any():
            return 0.0, SPHERE_BUFFER
        j, shift, vector = j[foreign], shift[foreign], vector[foreign]
        distance = np.linalg.norm(vector, axis=1)
        depth = self._cutoff + SPHERE_BUFFER - distance
        pull = -2.0 * STIFFNESS * (depth / np.maximum(distance, 1e-9))[:, None] * vector
        np.add.at(by_position, j, pull)
        by_cell += shift.T @ pull
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
