"""What an update of the built-in force field takes, and what its operations and bytes would take at best.

    python workflows/benchmarks/update_floor.py [--out workflows/benchmarks/results/update_floor.json]

One new structure and 32 replayed ones, of one species (copper) and of four (Ni, Cu, Pd, Pt at random), labelled by ASE's EMT,
which stands in for DFT; the default's settings. Updates of 20 and of 60 steps in turns, CPU time of one thread: their difference
is a gradient step's. What preparing all structures takes (neighbours, radial functions, harmonics, densities), which a campaign's
process keeps, is told apart. ``parts`` is where a step's time goes.

The floor is what operations would take at the rate of a product of large matrices in single precision, in which training
computes, and bytes at that of a copy in memory; ``workbench/operations.py`` says what is counted. Of an update beside its steps
that is the energies of all structures twice (reference energies before the steps, least change after them), their loss twice
(before and after that change), and the products of the change.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from idealflow.forcefields.local import LocalForceField, gradient, pairs, training
from idealflow.forcefields.local.training import loss_of
from workbench.keeping import add_out, keep
from workbench.operations import ADAM, Rates, gradient_step, learned_bytes, learned_energy, learned_forces
from workbench.threads import one_thread
from workbench.timing import cpu_seconds, spread

#: species, and cubic cells along each edge of a structure
CASES = [(("Cu",), 2), (("Cu",), 3), (("Ni", "Cu", "Pd", "Pt"), 3)]
#: what is watched of a step, and which part it belongs to
WATCHED = [
    (training, "joined_basis", "structures joined to a batch"),
    (pairs, "slopes_of_pairs", "pairs: forces"),
    (gradient, "scatter_forces", "pairs: forces"),
    (pairs, "along_motion", "pairs: densities along the motion"),
    (pairs, "invariants", "invariants"),
    (pairs, "pull_invariants", "invariants"),
    (gradient.Passed, "_through", "network"),
    (gradient.Passed, "_back", "network"),
]
N_REPLAY, STEPS, LONGER, TURNS = 32, 20, 60, 9


def labelled(symbols: tuple[str, ...], n: int, seed: int) -> Atoms:
    """A rattled cell with energy, forces and stress."""
    atoms = bulk("Cu", a=3.65, cubic=True).repeat(n)
    atoms.symbols[:] = np.random.default_rng(seed).choice(symbols, len(atoms))
    atoms.rattle(0.1, seed=seed)
    atoms.calc = EMT()
    atoms.get_stress()  # energy and forces, too
    return atoms


def measured(symbols: tuple[str, ...], n: int, rates: Rates) -> dict[str, Any]:
    """One row: what an update takes, ms, and a gradient step, µs per atom of its batch."""
    data = [labelled(symbols, n, seed) for seed in range(N_REPLAY + 1)]
    force_field = LocalForceField(list(symbols))
    force_field.fit(data[1:9], steps=10)

    def update(steps: int, seed: int) -> float:
        trained = force_field.copy()
        return 1e3 * cpu_seconds(lambda: trained.update(data[:1], data[1:], steps=steps, lr=3e-4, seed=seed))

    started = time.process_time()
    samples = force_field.samples(data)
    for sample in samples:
        sample.basis(force_field.cutoff, force_field.model)
    prepared = 1e3 * (time.process_time() - started)
    update(STEPS, 0)
    turns = np.array([[update(steps, seed) for steps in (STEPS, LONGER)] for seed in range(TURNS)])
    step = (turns[:, 1] - turns[:, 0]) / (LONGER - STEPS)
    in_batch = int(force_field.settings["batch_size"]) * len(data[0])
    neighbours = float(np.mean([len(sample.frame.j) / len(data[0]) for sample in samples]))
    lowest, beside = floors(force_field, len(data[0]), neighbours, rates)
    at_best = 1e-3 * max(lowest["operations_us"], lowest["bytes_us"]) * in_batch
    return {
        "n_species": len(symbols), "n_atoms": len(data[0]), "neighbours": neighbours,
        "us": 1e3 * float(np.median(step)) / in_batch, "us_spread": spread(1e3 * step / in_batch), **lowest,
        "steps": STEPS, "update_ms": spread(turns[:, 0]), "steps_ms": STEPS * float(np.median(step)),
        "update_at_best_ms": STEPS * at_best + beside, "prepared_ms": prepared, "load": os.getloadavg()[0],
        "parts": parts(force_field, data, in_batch),
    }  # fmt: skip


def parts(force_field: LocalForceField, data: list[Atoms], in_batch: int) -> dict[str, float]:
    """Where the time of a gradient step goes, µs per atom of its batch; the least of some steps."""
    spent: dict[str, float] = {}

    def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            started = time.process_time()
            found = work(*arguments)
            spent[name] = spent.get(name, 0.0) + time.process_time() - started
            return found

        return call

    model, batch = force_field.model, force_field.samples(data[: int(force_field.settings["batch_size"])])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-6)

    def step() -> None:
        optimiser.zero_grad()
        loss_of(model, batch, force_field.cutoff).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    rows = []
    with ExitStack() as stack:
        for place, name, part in WATCHED:
            stack.enter_context(patch.object(place, name, watched(part, getattr(place, name))))
        for _ in range(60):
            spent.clear()
            whole = cpu_seconds(step)
            rows.append(spent | {"all of it": whole})
    quickest = sorted(rows, key=lambda row: row["all of it"])[: len(rows) // 4]
    return {name: 1e6 * float(np.median([row[name] for row in quickest])) / in_batch for name in quickest[0]}


def floors(
    force_field: LocalForceField, n_atoms: int, neighbours: float, rates: Rates
) -> tuple[dict[str, float], float]:
    """A step's operations and bytes at best, of an atom of its batch; and ms of what an update has beside its steps."""
    settings, n_species = force_field.settings, len(force_field.species)
    model = settings["n_radial"], settings["n_channels"], settings["hidden"], n_species
    weights = sum(parameter.numel() for parameter in force_field.model.parameters())
    adam = ADAM * weights / (int(settings["batch_size"]) * n_atoms)
    read = learned_bytes(neighbours, settings["n_radial"], n_species)
    step = rates.floor(gradient_step(neighbours, *model) + adam, read)
    n = N_REPLAY + 1
    linear = force_field.model.linear.numel() + force_field.model.readout.numel() + n_species
    passes = 2 * (learned_energy(*model) + learned_forces(neighbours, *model)) * n * n_atoms
    least_change = n * (n + 1) * linear + n**3 / 3
    beside = rates.floor(passes + least_change, 2 * read * n * n_atoms)
    return step, 1e-3 * max(beside["operations_us"], beside["bytes_us"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    rates, rows = Rates.measured(np.float32), []
    for symbols, n in CASES:
        rows.append(measured(symbols, n, rates))
        print(rows[-1], flush=True)
        keep(arguments.out, updates=rows)


if __name__ == "__main__":
    main()
