"""Labelled structures from molecular dynamics on the reference; ASE's EMT stands in for DFT."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta


def labelled(atoms: Atoms) -> Atoms:
    """A copy, at rest, with EMT's energy (eV), forces (eV/Å) and stress (eV/Å³)."""
    frame = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    frame.calc = EMT()
    energy, forces, stress = frame.get_potential_energy(), frame.get_forces().copy(), frame.get_stress()
    frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces, stress=stress)
    return frame


def trajectory(
    atoms: Atoms,
    n: int,
    every: int,
    rng: np.random.Generator,
    *,
    temperature: float,
    settle: int = 0,
    timestep: float = 2.0,
) -> list[Atoms]:
    """Labelled frames of a Langevin run on EMT.

    Parameters
    ----------
    atoms
        The frame it starts from, at rest; twice the temperature goes into its velocities, half of which the potential takes.
    n, every
        How many frames, and how many steps apart.
    rng
        Generator of velocities and of the thermostat.
    temperature
        K.
    settle
        Steps before the first ``every``.
    timestep
        fs.
    """
    atoms = atoms.copy()
    atoms.calc = EMT()
    thermalize_momenta(atoms, temperature_K=2 * temperature, rng=rng)
    step = timestep * units.fs
    dynamics = Langevin(atoms, step, temperature_K=temperature, friction=0.02 / units.fs, rng=rng, fixcm=False)
    if settle:
        dynamics.run(settle)
    frames = []
    for _ in range(n):
        dynamics.run(every)
        frames.append(labelled(atoms))
    return frames
