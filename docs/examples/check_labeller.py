"""The conformance kit on a labeller: forces and stress against finite differences of the energy."""

import numpy as np
from ase.build import bulk

from idealflow import AseLabeller
from idealflow.testing import check_labeller

if __name__ == "__main__":
    atoms = bulk("Cu", a=3.55, cubic=True) * 2
    atoms.rattle(0.05, seed=0)
    shear = np.array([[0, 0.08, -0.05], [0, 0, 0.03], [0, 0, 0]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + shear), scale_atoms=True)

    labeller = AseLabeller("ase.calculators.emt.EMT", reference="EMT")
    print(check_labeller(labeller, atoms))
