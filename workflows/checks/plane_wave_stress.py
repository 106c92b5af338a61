"""Why a small strain misjudges the stress of alumina: plane waves that come and go as the cell strains.

    python workflows/checks/plane_wave_stress.py [--cutoffs 600 800 1000] [--strains 0.002 0.02]
        [--out workflows/checks/results/plane_wave_stress.json]

The ten-atom cell of tests/dft/test_gpaw.py, rattled and sheared, PBE at Γ, the grid held. A plane-wave engine's stress is
the derivative of its energy at a fixed set of plane waves; a finite difference of energies at a fixed cutoff sees the set
change as well. One wave more lowers the energy by −dE/dN, so that the slope is off by ΔN·(dE/dN)/(2·strain·volume). dE/dN
comes from a cutoff 20 eV higher and lower in the unstrained cell, with no strain in it at all.

Printed for every cutoff: the stress, and for every strain the slope, the change ΔN of the number of plane waves between +
and −, and what of the slope's error the waves that came and went explain. Needs GPAW (`make gpaw`); some minutes.
The page shows `--cutoffs 600 --strains 0.001 0.002 0.01 0.02`.
"""

from __future__ import annotations

import argparse

import numpy as np
from ase import Atoms
from ase.spacegroup import crystal
from ase.units import Bohr, Hartree

from idealflow.labelling import AseLabeller, Label, close_workers
from workbench.keeping import add_out, keep

SHEAR = np.array([[1.0, 0.04, 0.10], [0.0, 0.98, -0.06], [0.0, 0.0, 1.01]])
GRID = np.array([32, 28, 30])  # points at 600 eV
STEP = 20.0  # eV, of the cutoff


def alumina() -> Atoms:
    """The primitive cell of corundum, off its equilibrium in every way."""
    basis, axes = [(0, 0, 0.35219), (0.30633, 0, 0.25)], [4.76, 4.76, 12.99, 90, 90, 120]
    atoms = crystal(("Al", "O"), basis, spacegroup=167, cellpar=axes, primitive_cell=True)
    atoms.rattle(0.05, seed=3)
    atoms.set_cell(atoms.cell.array @ SHEAR, scale_atoms=True)
    return atoms


def sheared(atoms: Atoms, strain: float) -> Atoms:
    """A copy strained in yz by ``strain``."""
    matrix = np.eye(3)
    matrix[1, 2] = matrix[2, 1] = strain / 2
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ matrix, scale_atoms=True)
    return copy


def n_waves(atoms: Atoms, cutoff: float) -> int:
    """Plane waves below a cutoff (eV) at Γ, of each pair ±G one."""
    largest = np.sqrt(2 * cutoff / Hartree) / Bohr  # Å⁻¹
    reciprocal = 2 * np.pi * atoms.cell.reciprocal().array
    reach = np.ceil(largest * atoms.cell.lengths() / (2 * np.pi)).astype(int)
    indices = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    return (int((np.linalg.norm(indices @ reciprocal, axis=1) <= largest).sum()) + 1) // 2


def labelled(atoms: Atoms, cutoff: float, grid: np.ndarray) -> Label:
    kwargs = {
        "mode": {"name": "pw", "ecut": cutoff}, "xc": "PBE", "kpts": {"size": [1, 1, 1]}, "nbands": "nao",
        "gpts": grid.tolist(), "occupations": {"name": "fermi-dirac", "width": 0.2},
        "convergence": {"density": 1e-6, "energy": 1e-6, "eigenstates": 1e-9}, "txt": None,
    }  # fmt: skip
    return AseLabeller("gpaw.GPAW", kwargs, time_limit_s=None, reference=f"GPAW PBE, {cutoff:g} eV").compute(atoms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cutoffs", nargs="+", type=float, default=(600.0, 800.0, 1000.0), help="eV")
    parser.add_argument("--strains", nargs="+", type=float, default=(0.002, 0.02))
    add_out(parser)
    arguments = parser.parse_args()
    atoms = alumina()
    volume = atoms.get_volume()

    for cutoff in arguments.cutoffs:
        grid = 2 * np.ceil(GRID * np.sqrt((cutoff + STEP) / 600) / 2).astype(int) if cutoff != 600 else GRID
        stress = float(np.asarray(labelled(atoms, cutoff, grid).stress)[3])
        lower, upper = (labelled(atoms, cutoff + sign * STEP, grid).energy for sign in (-1, 1))
        per_wave = (upper - lower) / (n_waves(atoms, cutoff + STEP) - n_waves(atoms, cutoff - STEP))
        print(
            f"{cutoff:g} eV: {n_waves(atoms, cutoff)} waves, dE/dN {1000 * per_wave:.2f} meV, stress {stress:.5f} eV/Å³"
        )
        rows = []
        for strain in arguments.strains:
            ends = [sheared(atoms, sign * strain) for sign in (1, -1)]
            energies = [labelled(end, cutoff, grid).energy for end in ends]
            slope = (energies[0] - energies[1]) / (2 * strain) / volume
            waves = [n_waves(end, cutoff) for end in ends]
            change = waves[0] - waves[1]
            explained = change * per_wave / (2 * strain) / volume
            print(
                f"  strain ±{strain:g}: slope {slope:.5f}, off by {slope - stress:+.5f}; {change:+d} waves explain "
                f"{explained:+.5f}; left {slope - explained - stress:+.5f} eV/Å³",
                flush=True,
            )
            rows.append(
                {"strain": strain, "waves": waves, "slope": slope, "off": slope - stress, "explained": explained}
            )
        of_cutoff = {"stress": stress, "per_wave_meV": 1000 * per_wave, "strains": rows}
        keep(arguments.out, **{f"{cutoff:g} eV": of_cutoff})
    close_workers()


if __name__ == "__main__":
    main()
