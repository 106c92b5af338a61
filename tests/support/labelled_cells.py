"""Small labelled cells; EMT stands in for first principles."""

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator


def labelled(atoms: Atoms) -> Atoms:
    """The structure with energy, forces and stress of EMT."""
    worker = atoms.copy()
    worker.calc = EMT()
    made = atoms.copy()
    made.calc = SinglePointCalculator(
        made,
        energy=worker.get_potential_energy(),
        forces=worker.get_forces(),
        stress=worker.get_stress(),
    )
    return made


def distorted(atoms: Atoms, amplitude: float, strain: float, seed: int) -> Atoms:
    """Atoms displaced by a normal distribution (Å) in a strained and sheared cell."""
    rng = np.random.default_rng(seed)
    made = atoms.copy()
    made.set_cell(made.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
    made.positions += amplitude * rng.normal(size=made.positions.shape)
    return made


def copper_cells(n: int, seed: int) -> list[Atoms]:
    """Labelled cells of 31 or 32 atoms, crystal to molten-like."""
    cells = []
    for k in range(n):
        crystal = bulk("Cu", cubic=True, a=3.58 + 0.03 * (k % 6)).repeat(2)
        if k % 3 == 0:
            del crystal[5]
        cells.append(labelled(distorted(crystal, (0.05, 0.1, 0.15, 0.2)[k % 4], 0.01, seed * 1000 + k)))
    return cells


def alloy_cells(n: int, seed: int) -> list[Atoms]:
    """Labelled NiAl cells of 16 atoms with exchanged atoms."""
    cells = []
    for k in range(n):
        alloy = bulk("NiAl", "cesiumchloride", a=2.85 + 0.03 * (k % 3)).repeat(2)
        numbers = alloy.numbers.copy()
        np.random.default_rng(k).shuffle(numbers[: 4 * (k % 4)])
        alloy.numbers = numbers
        cells.append(labelled(distorted(alloy, 0.08, 0.01, seed * 1000 + k)))
    return cells
