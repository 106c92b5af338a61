"""What MatterSim 1.2.3 says of a small M3GNet of random weights in double precision, stored for the tests.

    PYTHONPATH=tests python tests/with_mattersim/store_reference.py tests/fixtures/m3gnet/mattersim.json

in an environment with `mattersim`. Its code computes in single precision at two places, which are widened here; so what is left
beside ours is the rounding of its tabulated roots. Larger models are compared without being stored: it prints the differences.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from mattersim.forcefield.m3gnet.m3gnet import M3Gnet

from idealflow.forcefields.m3gnet import M3GNetForceField, from_mattersim
from support.sheared_alloy import alloy

torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]  # shifts and species are made single otherwise


def model_of(**size: int) -> Any:
    """A model of random weights, scales and offsets."""
    torch.manual_seed(0)
    made = M3Gnet(cutoff=5.0, threebody_cutoff=4.0, device="cpu", **size)
    made.normalizer.scale = 2000.0 + 100.0 * torch.rand(95)  # forces of some eV/Å
    made.normalizer.shift = -3.0 * torch.rand(95)
    return made


def said(model: Any, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) of a model, which gets the graph that it would have made."""
    i, j, shifts = neighbor_list("ijS", atoms, 5.0)
    order = np.argsort(i, kind="stable")
    i, j, shifts = i[order], j[order], shifts[order]
    near = np.linalg.norm(atoms.positions[j] + shifts @ atoms.cell.array - atoms.positions[i], axis=1) <= 4.0
    thirds = [np.flatnonzero((i == i[pair]) & near) if near[pair] else np.zeros(0, int) for pair in range(len(i))]
    thirds = [others[others != pair] for pair, others in enumerate(thirds)]
    counts = np.array([len(others) for others in thirds])
    triples = np.column_stack([np.repeat(np.arange(len(i)), counts), np.concatenate(thirds)])
    positions = torch.tensor(atoms.positions, requires_grad=True)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    deformed = torch.eye(3) + 0.5 * (strain + strain.T)
    energy = model(
        {
            "atom_pos": positions @ deformed,
            "cell": torch.tensor(atoms.cell.array)[None] @ deformed,
            "pbc_offsets": torch.tensor(shifts),
            "atom_attr": torch.tensor(atoms.numbers)[:, None],
            "edge_index": torch.tensor(np.array([i, j])),
            "three_body_indices": torch.tensor(triples),
            "num_three_body": torch.tensor([len(triples)]),
            "num_bonds": torch.tensor([len(i)]),
            "num_triple_ij": torch.tensor(counts)[:, None],
            "num_atoms": torch.tensor([len(atoms)]),
            "num_graphs": torch.tensor(1),
            "batch": torch.zeros(len(atoms), dtype=torch.long),
        }
    ).sum()
    slopes = torch.autograd.grad(energy, [positions, strain])
    return float(energy.detach()), -slopes[0].numpy(), slopes[1].numpy() / atoms.get_volume()


def differences(size: dict[str, int]) -> tuple[float, ...]:
    """Largest differences of ours from theirs, eV/atom, eV/Å, eV/Å³, and the largest force, eV/Å."""
    model, atoms = model_of(**size), alloy()
    settings, weights = from_mattersim(model.state_dict())
    energy, forces, stress = said(model, atoms)
    atoms.calc = M3GNetForceField.with_weights(settings, weights, species=["Al", "Cu"], precision="double").calculator()
    return (
        abs(atoms.get_potential_energy() - energy) / len(atoms),
        float(np.abs(atoms.get_forces() - forces).max()),
        float(np.abs(atoms.get_stress(voigt=False) - stress).max()),
        float(np.abs(forces).max()),
    )


def main(path: Path) -> None:
    """Print differences, and store the smallest model."""
    torch.set_default_dtype(torch.float64)
    for n_blocks, units in ((2, 4), (2, 32), (3, 128)):
        size = {"num_blocks": n_blocks, "units": units, "max_n": 4, "max_l": 4}
        sys.stdout.write(f"{n_blocks} x {units}: {differences(size)}\n")
    model, atoms = model_of(num_blocks=2, units=2, max_n=2, max_l=2, max_z=29), alloy()
    energy, forces, stress = said(model, atoms)
    stored = {
        "state": {name: value.tolist() for name, value in model.state_dict().items() if not name.startswith("sbf.")},
        "energy": energy,
        "forces": forces.tolist(),
        "stress": stress.tolist(),
        "symbols": atoms.get_chemical_symbols(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
    }
    path.write_text(json.dumps(stored))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
