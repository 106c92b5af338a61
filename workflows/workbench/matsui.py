"""Matsui's rigid-ion model of Al2O3, which stands in for DFT of oxides.

Pairs of ions repel each other exponentially, attract by dispersion (Born's form), and have damped-shifted Coulomb forces
(Fennell and Gezelter, J. Chem. Phys. 124, 234104, 2006): Matsui, Mineralogical Magazine 58A, 571 (1994).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import numba
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress
from scipy.special import erfc

from idealflow.core.descriptors.neighbours import neighbour_pairs
from idealflow.errors import InputError


class Ion(NamedTuple):
    """Matsui's parameters of one ion: charge, e; size A and softness B, Å; dispersion C, (kJ/mol)^½ Å³."""

    charge: float
    size: float
    softness: float
    dispersion: float


MATSUI = {"Al": Ion(1.4175, 0.7852, 0.034, 36.82), "O": Ion(-0.945, 1.8215, 0.138, 90.61)}
DAMPING, BORN_CUTOFF, COULOMB_CUTOFF = 0.2, 9.0, 10.0  # 1/Å, Å, Å
COULOMB = 14.399645  # e²/(4πε₀), eV Å, as LAMMPS has it in metal units
_SLOTS = 7  # figures that the kernel needs of a pair


def born(a: str, b: str) -> tuple[float, float, float, float]:
    """Prefactor (eV), ρ and σ (Å) and C (eV Å⁶) of E = prefactor·exp((σ - r)/ρ) - C/r⁶ between two ions."""
    one, other = MATSUI[a], MATSUI[b]
    rho = one.softness + other.softness
    return 0.0433634 * rho, rho, one.size + other.size, one.dispersion * other.dispersion / 96.4853


class Matsui(Calculator):
    """Matsui's model: energy (eV), forces (eV/Å) and, of fully periodic cells, stress (eV/Å³).

    A pure function of the structure: what was asked for before does not matter.

    Parameters
    ----------
    shifted
        Let repulsion and dispersion end at their cutoff, 9 Å, in value and slope, so that forces and stress are the derivatives
        of the energy. False: they are cut off, as in ``born/coul/dsf 0.2 9.0 10.0`` of LAMMPS, to which energies and
        forces then are equal.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]
    pure: ClassVar[bool] = True  # a worker need not make a new one for every label

    def __init__(self, shifted: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shifted = shifted
        self._table, self._self_energies = _parameters(shifted)

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Compute all properties.

        Raises
        ------
        InputError
            If there are atoms other than aluminium and oxygen.
        """
        super().calculate(atoms, properties, system_changes)
        ions = list(MATSUI)
        kinds = np.full(len(self.atoms), -1)
        for kind, ion in enumerate(ions):
            kinds[self.atoms.numbers == atomic_numbers[ion]] = kind
        if (kinds < 0).any():
            symbol = self.atoms.symbols[int(np.argmin(kinds))]
            raise InputError(f"Matsui's model knows {' and '.join(ions)}, got {symbol}; take another labeller")
        pairs = neighbour_pairs(self.atoms.positions, self.atoms.cell.array, self.atoms.pbc, COULOMB_CUTOFF)
        energy, forces, virial = _sum(pairs.offsets, pairs.j, pairs.vec, kinds, self._table)
        energy += float(self._self_energies[kinds].sum())
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if self.atoms.pbc.all():
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial / self.atoms.get_volume())


def screened_slope(r: Any) -> Any:
    """Derivative of erfc(αr)/r, Å⁻²."""
    gauss = 2.0 * DAMPING / np.sqrt(np.pi) * np.exp(-((DAMPING * r) ** 2))
    return -erfc(DAMPING * r) / r**2 - gauss / r


def _parameters(shifted: bool) -> tuple[np.ndarray, np.ndarray]:
    """For each two kinds of ions what the kernel needs of them; for each kind its energy in its own field, eV."""
    table = np.zeros((len(MATSUI), len(MATSUI), _SLOTS))
    for i, a in enumerate(MATSUI):
        for j, b in enumerate(MATSUI):
            prefactor, rho, size, c6 = born(a, b)
            repulsion = prefactor * math.exp((size - BORN_CUTOFF) / rho)
            value, slope = repulsion - c6 / BORN_CUTOFF**6, -repulsion / rho + 6.0 * c6 / BORN_CUTOFF**7
            ends = (value, slope) if shifted else (0.0, 0.0)
            table[i, j] = prefactor, rho, size, c6, COULOMB * MATSUI[a].charge * MATSUI[b].charge, *ends
    at_no_distance = (_EDGE - _EDGE_SLOPE * COULOMB_CUTOFF) / 2.0 + DAMPING / math.sqrt(math.pi)
    return table, np.array([-COULOMB * ion.charge**2 * at_no_distance for ion in MATSUI.values()])


_EDGE = float(erfc(DAMPING * COULOMB_CUTOFF)) / COULOMB_CUTOFF
_EDGE_SLOPE = float(screened_slope(COULOMB_CUTOFF))
_GAUSS = 2.0 * DAMPING / math.sqrt(math.pi)


@numba.njit(cache=True)
def _sum(offsets, j, vec, kinds, table):  # type: ignore[no-untyped-def]  # numba compiles it for the types it meets
    """Energy, forces and virial of all pairs, of which each is there twice."""
    energy, forces, virial = 0.0, np.zeros((len(kinds), 3)), np.zeros((3, 3))
    for i in range(len(kinds)):
        for pair in range(offsets[i], offsets[i + 1]):
            v = vec[pair]
            r = math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
            prefactor, rho, size, c6, charges, value, steepness = table[kinds[i], kinds[j[pair]]]
            screened = math.erfc(DAMPING * r) / r
            found = charges * (screened - _EDGE - _EDGE_SLOPE * (r - COULOMB_CUTOFF))
            slope = charges * (-screened / r - _GAUSS * math.exp(-((DAMPING * r) ** 2)) / r - _EDGE_SLOPE)
            if r < BORN_CUTOFF:
                repulsion, dispersion = prefactor * math.exp((size - r) / rho), c6 / r**6
                found += repulsion - dispersion - value - steepness * (r - BORN_CUTOFF)
                slope += -repulsion / rho + 6.0 * dispersion / r - steepness
            energy += 0.5 * found
            for a in range(3):
                pull = slope * v[a] / r
                forces[i, a] += pull
                for b in range(3):
                    virial[a, b] += 0.5 * pull * v[b]
    return energy, forces, virial
