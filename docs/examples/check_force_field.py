"""The conformance kit on the built-in force field."""

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from idealflow.forcefields import get_force_field
from idealflow.testing import check_force_field

dataset = []
for seed in range(4):
    atoms = bulk("Cu", a=3.62, cubic=True) * 2
    atoms.rattle(0.1, seed=seed)
    strain = 0.03 * np.random.default_rng(seed).normal(size=(3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.calc = EMT()
    results = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(),
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    dataset.append(atoms)

print(check_force_field(get_force_field("local", species=["Cu"], cutoff=5.0), dataset))
