"""Force fields on one labelled set: error against training time, time per atom, and drift of the energy in NVE.

    python workflows/benchmarks/force_fields.py [--out workflows/benchmarks/results/force_fields.json]

The labels are those of `learning.py cu`: 40 rattled crystals and 80 cells of a run that melts copper, by ASE's EMT, which stands
in for first principles. Each force field is fitted with several numbers of steps, by its own default rates and batches, from
scratch, or CHGNet from the weights of its package, and judged on frames of other runs; beside them is who always predicts the
mean of the training energies and no force. The last of each, and SevenNet-0 as it is, moves 108 atoms at 600 K without a
thermostat. One thread; times are of the processor.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from learning import data

from idealflow.forcefields import ForceField, get_force_field
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

#: force fields, their settings beside the defaults, and their numbers of steps
FORCE_FIELDS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "local": ({}, [300, 1000, 3000]),
    "m3gnet-small": ({"fit_learning_rate": 0.005}, [100, 300, 1000]),
    "mace": ({}, [100, 300]),  # in its own environment: --force-fields mace
    "chgnet": ({}, [30, 100]),  # likewise
    "sevennet": ({}, []),  # likewise; only moves atoms, by 7net-0 as it is
}
SETS = ("crystal", "liquid")


def mean_error(training: list[Atoms], judges: list[Atoms]) -> list[float]:
    """Errors of the mean energy per atom and of no force: meV/atom, meV/Å."""
    mean = np.mean([atoms.get_potential_energy() / len(atoms) for atoms in training])
    energy = np.mean([abs(atoms.get_potential_energy() / len(atoms) - mean) for atoms in judges])
    force = np.mean([np.abs(atoms.get_forces()).mean() for atoms in judges])
    return [1e3 * float(energy), 1e3 * float(force)]


def errors(force_field: ForceField, sets: dict[str, list[Atoms]]) -> dict[str, list[float]]:
    """Mean errors by set: meV/atom, meV/Å."""
    return {name: (1e3 * force_field.errors(sets[name]).mean(axis=0)[:2]).tolist() for name in SETS}


def drift(force_field: ForceField, n_steps: int = 1000, timestep: float = 2.0) -> dict[str, float]:
    """Slope and scatter of the total energy, meV/atom, in NVE of 108 atoms at 600 K; CPU time of a step, µs/atom."""
    atoms = bulk("Cu", a=3.62, cubic=True).repeat(3)
    MaxwellBoltzmannDistribution(atoms, temperature_K=1200, rng=np.random.default_rng(0))
    atoms.calc = force_field.calculator()
    motion, energies = VelocityVerlet(atoms, timestep * units.fs), []
    atoms.get_forces()
    started = time.process_time()
    for _ in range(n_steps):
        motion.run(1)
        energies.append(atoms.get_total_energy())
    spent = time.process_time() - started
    per_atom = 1e3 * np.array(energies) / len(atoms)
    times = 1e-3 * timestep * np.arange(n_steps)  # ps
    slope, start = np.polyfit(times, per_atom, 1)
    return {
        "drift_meV_per_ps": float(slope),
        "scatter_meV": float(np.std(per_atom - start - slope * times)),
        "us_per_atom": 1e6 * spent / n_steps / len(atoms),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--force-fields", nargs="+", choices=list(FORCE_FIELDS), default=["local", "m3gnet-small"])
    parser.add_argument("--nve-steps", type=int, default=1000)
    parser.add_argument("--data", type=Path, default=Path("build/learning"))
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    learn = any(FORCE_FIELDS[name][1] for name in arguments.force_fields)
    sets = data("cu", arguments.data) if learn else {}
    training = [*sets["first"], *sets["run"]] if learn else []
    if learn:
        keep(arguments.out, mean={name: mean_error(training, sets[name]) for name in SETS})
    for name in arguments.force_fields:
        settings, numbers = FORCE_FIELDS[name]
        rows: list[dict[str, Any]] = []
        force_field = get_force_field(name, species=["Cu"], **settings)
        for steps in numbers:
            force_field = get_force_field(name, species=["Cu"], **settings)
            started = time.process_time()
            force_field.fit(training, steps=steps, seed=7)
            seconds = time.process_time() - started
            rows.append({"steps": steps, "fit_s": seconds, "errors": errors(force_field, sets)})
            print(name, rows[-1], flush=True)
        moved = drift(force_field, arguments.nve_steps)
        print(name, moved, flush=True)
        keep(arguments.out, **{name: {"fits": rows, "nve": {**moved, "steps": arguments.nve_steps}}})


if __name__ == "__main__":
    main()
