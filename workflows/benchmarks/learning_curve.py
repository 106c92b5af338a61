"""Is the error of the built-in force field on a liquid the data's or the model's? A learning curve, narrow and wide.

    python workflows/benchmarks/learning_curve.py [--out workflows/benchmarks/results/learning_curve.json]

Cells of 64 silicon atoms from runs of the liquid at 3500 K, labelled by Stillinger and Weber's potential, which stands in for
first principles; models of several widths learn the first 120, 250, 500 and 1000 of them, and are judged on frames of another
run. Rows that the file of results has are kept. One thread; times are of the processor.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from learning import labelled

from idealflow.forcefields import get_force_field
from workbench.keeping import add_out, keep
from workbench.stillinger_weber import StillingerWeber
from workbench.threads import one_thread

#: settings of the models, beside the defaults
MODELS: dict[str, dict[str, Any]] = {
    "8 radial functions": {"n_radial": 8},
    "8, and 64 × 64": {"n_radial": 8, "hidden": [64, 64]},
    "12 radial functions": {"n_radial": 12},
    "16 radial functions (the default)": {},
    "12, 12 channels": {"n_radial": 12, "n_channels": 12},
    "12, 16 channels and 64 × 64": {"n_radial": 12, "n_channels": 16, "hidden": [64, 64]},
    "8, cutoff 4 Å": {"n_radial": 8, "cutoff": 4.0},
}
RUNS, EVERY, TEMPERATURE = 8, 20, 3500.0


def liquid(seed: int, n_frames: int) -> list[Atoms]:
    """Labelled frames of a run of 64 atoms: molten at 5000 K for 2 ps, then 1 ps at the temperature before the first."""
    rng, reference = np.random.default_rng(seed), StillingerWeber()
    atoms = bulk("Si", a=5.431 * (1 + rng.uniform(-0.02, 0.02)), cubic=True).repeat(2)
    atoms.calc = reference
    thermalize_momenta(atoms, temperature_K=5000, rng=rng)
    motion = Langevin(atoms, units.fs, temperature_K=5000, friction=0.02 / units.fs, rng=rng, fixcm=False)
    motion.run(2000)
    motion.set_temperature(temperature_K=TEMPERATURE)
    motion.run(1000)
    frames = []
    for _ in range(n_frames):
        motion.run(EVERY)
        frames.append(labelled(atoms, reference))
    return frames


def data(folder: Path) -> tuple[list[Atoms], list[Atoms]]:
    """1000 cells to learn, of all runs in turn, and 40 to judge by; made once, then read from the folder."""
    path = folder / "si-liquid.traj"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        runs = [liquid(seed, 125) for seed in range(RUNS)]
        frames = [atoms for one in zip(*runs, strict=True) for atoms in one]
        write(folder / "part.traj", [*frames, *liquid(RUNS, 40)])
        (folder / "part.traj").rename(path)
    frames = read(path, ":")
    return frames[:1000], frames[1000:]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6000, help="steps of a fit to 500 cells or fewer")
    parser.add_argument("--sizes", type=int, nargs="+", default=[120, 250, 500, 1000])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--data", type=Path, default=Path("build/learning"))
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    learned, judges = data(arguments.data)
    forces = np.concatenate([atoms.get_forces() for atoms in judges])
    print(f"mean absolute force {1e3 * np.abs(forces).mean():.0f} meV/Å", flush=True)
    kept = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else {}
    rows: list[dict[str, Any]] = kept.get("rows", [])
    for size in arguments.sizes:
        for name in arguments.models:
            if any((row["cells"], row["model"]) == (size, name) for row in rows):
                continue
            model = get_force_field("local", species=["Si"], **MODELS[name])
            steps = arguments.steps * max(1, size // 500)
            started = time.process_time()
            model.fit(learned[:size], steps=steps, seed=7)
            seconds = time.process_time() - started
            energy, force = 1e3 * model.errors(judges).mean(axis=0)[:2]
            known = 1e3 * model.errors(learned[: min(size, 40)]).mean(axis=0)[:2]
            calculator = model.calculator()
            started = time.process_time()
            for atoms in judges:
                calculator.get_forces(atoms.copy())
            cost = 1e6 * (time.process_time() - started) / sum(map(len, judges))
            rows.append(
                {
                    "cells": size,
                    "model": name,
                    "steps": steps,
                    "energy_meV": energy,
                    "force_meV_A": force,
                    "learned_energy_meV": known[0],
                    "learned_force_meV_A": known[1],
                    "fit_s": seconds,
                    "us_per_atom": cost,
                }
            )
            print(rows[-1], flush=True)
            keep(arguments.out, mean_force_meV_A=1e3 * np.abs(forces).mean(), rows=rows)


if __name__ == "__main__":
    main()
