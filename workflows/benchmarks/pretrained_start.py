"""Weights that packages ship, fine-tuned on twelve cells of copper, which EMT labels in DFT's place: what they learn and forget.

    python workflows/benchmarks/pretrained_start.py [--weights 7net-0] [--steps 40] [--anchors 36] [--out FILE.json]

Fits of the same data from the same weights: without an anchor, with one, and with all but the last two layers frozen. Force
errors are those on the cells learned and on four more. Force shifts are the mean change of the force components since the start:
on crystals that no fit learned (those of the package, of 89 species), and on eight compounds and metals set up by hand. It
needs the package that ships the weights; run it with `.venv-sevennet/bin/python` or `.venv-chgnet/bin/python`, which
`make test-sevennet` and `make test-chgnet` make. One thread.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from idealflow.core.structure import set_label
from idealflow.forcefields import Startable, pretrained_force_field, weights_file
from idealflow.forcefields.pretrained import kept_structures
from workbench.keeping import add_out, keep

#: what is frozen so that the last two layers alone learn, by the name of the weights
FROZEN = {
    "7net-0": ["embedding", "frequencies", *(f"layers.{layer}.*" for layer in range(3))],
    "chgnet-0.3.0": [
        *("atoms.*", "*frequencies", "bonds.*", "weight.*", "near_weight.*", "angles.*", "angle_layers.0.*"),
        *(f"{kind}_layers.{layer}.*" for kind in ("atom", "bond") for layer in range(2)),
    ],
}


def labelled(atoms: Atoms) -> Atoms:
    """The structure with EMT's label."""
    worker = atoms.copy()
    worker.calc = EMT()
    energy, forces = worker.get_potential_energy(), worker.get_forces()
    return set_label(atoms.copy(), energy=energy, forces=forces, stress=worker.get_stress())


def cells(n: int) -> list[Atoms]:
    """Strained and rattled copper of eight atoms, from a warm crystal to a liquid."""
    rng, made = np.random.default_rng(1), []
    for seed in range(n):
        atoms = bulk("Cu", cubic=True) * (1, 1, 2)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3))), scale_atoms=True)
        atoms.rattle(rng.uniform(0.02, 0.2), seed=seed)
        made.append(labelled(atoms))
    return made


def others() -> list[Atoms]:
    """Matter of other species, rattled."""
    made = [
        bulk("Al", cubic=True),
        bulk("Ni", cubic=True),
        bulk("Fe", cubic=True) * (1, 1, 2),
        bulk("Ti"),
        bulk("Si", cubic=True),
        bulk("NaCl", "rocksalt", a=5.64, cubic=True),
        bulk("MgO", "rocksalt", a=4.21, cubic=True),
        bulk("CuZn", "cesiumchloride", a=2.95) * (2, 1, 1),
    ]
    for atoms in made:
        atoms.rattle(0.08, seed=5)
    return made


def forces_of(force_field: Any, structures: list[Atoms]) -> list[np.ndarray]:
    """Forces of each structure, eV/Å."""
    calculator, found = force_field.calculator(), []
    for atoms in structures:
        frame = atoms.copy()
        frame.calc = calculator
        found.append(frame.get_forces())
    return found


def fitted(weights: str, way: str, anchors: int, steps: int, freeze: list[str]) -> dict[str, Any]:
    """One fit and its figures, meV/atom and meV/Å."""
    settings = {"fit_learning_rate": 1e-3, **({"freeze": freeze} if freeze else {})}
    force_field = pretrained_force_field(weights_file(weights), settings)
    assert isinstance(force_field, Startable)  # noqa: S101  # both are
    data, rest = cells(16)[:12], cells(16)[12:]
    before, start = forces_of(force_field, others()), force_field.errors(data)
    force_field.start_here(*kept_structures(force_field, anchors, seed=3))
    began = time.process_time()
    force_field.fit(data, steps=steps, seed=1)
    cpu = time.process_time() - began
    after = forces_of(force_field, others())
    learned, new = force_field.errors(data), force_field.errors(rest)
    return {
        "weights": weights,
        "way": way,
        "anchors": anchors,
        "steps": steps,
        "force_before": 1e3 * start[:, 1].mean(),
        "energy": 1e3 * learned[:, 0].mean(),
        "force": 1e3 * learned[:, 1].mean(),
        "force_of_others": 1e3 * new[:, 1].mean(),
        "shift": 1e3 * (force_field.force_shift() or 0.0),
        "shift_by_hand": 1e3 * float(np.mean([np.abs(a - b).mean() for a, b in zip(after, before, strict=True)])),
        "cpu_s": cpu,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", choices=list(FROZEN), default="7net-0")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--anchors", type=int, default=36)
    add_out(parser)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(chosen.out.read_text())["fits"] if chosen.out and chosen.out.exists() else []
    rows = [row for row in kept if row["weights"] != chosen.weights]
    for way, anchors, freeze in (
        ("no anchor", 0, []),
        ("anchor", chosen.anchors, []),
        ("anchor, two last layers alone learn", chosen.anchors, FROZEN[chosen.weights]),
    ):
        rows.append(fitted(chosen.weights, way, anchors, chosen.steps, freeze))
        print(json.dumps(rows[-1]), flush=True)
        keep(chosen.out, fits=rows)


if __name__ == "__main__":
    main()
