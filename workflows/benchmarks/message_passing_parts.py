"""Large frames in parts against the whole, with M3GNet of two layers and 32 units: differences, CPU time, memory.

    python workflows/benchmarks/message_passing_parts.py [--atoms 864 8788 97556] [--out FILE.json]

Rattled fcc copper, weights as they are made, scaled to forces of 1 eV/Å. Frames above ``--largest-whole`` atoms are computed
in parts only. CPU times are this process's, so run it with one thread.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from idealflow.forcefields import get_force_field


def copper(n_atoms: int) -> Atoms:
    """Rattled copper of the most atoms, at most so many, in a cell of whole repeats."""
    edge = round((n_atoms / 4) ** (1 / 3) + 1e-9)
    atoms = bulk("Cu", a=3.7, cubic=True) * (edge, edge, max(1, n_atoms // (4 * edge**2)))
    atoms.rattle(0.1, seed=0)
    return atoms


def step(atoms: Atoms, calculator: object) -> tuple[float, np.ndarray]:
    """CPU seconds and forces of one evaluation."""
    atoms.calc = calculator
    calculator.reset()  # type: ignore[attr-defined]  # an ASE calculator
    started = time.process_time()
    forces = atoms.get_forces()
    return time.process_time() - started, forces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", type=int, nargs="+", default=[864, 8788, 97556])
    parser.add_argument("--largest-whole", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    force_field: Any = get_force_field("m3gnet", species=["Cu"], n_blocks=2, units=32)
    force_field.network.seen.fill_(True)
    _, forces = step(copper(100), force_field.calculator())  # compiles, too
    force_field.network.scale /= float(
        np.sqrt(np.mean(forces**2))
    )  # forces of some eV/Å, as rounding counts beside them
    rows = []
    for n_atoms in chosen.atoms:
        atoms = copper(n_atoms)
        parts = [
            step(atoms, force_field.calculator(100_000 if n_atoms > 1000 else 10_000)) for _ in range(chosen.repeats)
        ]
        row = {"n_atoms": len(atoms), "parts_s": round(min(seconds for seconds, _ in parts), 2)}
        row["peak_GB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)
        if n_atoms <= chosen.largest_whole:
            whole = [step(atoms, force_field.calculator(10**12)) for _ in range(chosen.repeats)]
            row["whole_s"] = round(min(seconds for seconds, _ in whole), 2)
            row["ratio"] = round(row["parts_s"] / row["whole_s"], 2)
            row["force_difference"] = float(np.abs(parts[0][1] - whole[0][1]).max())
        rows.append(row)
        print(json.dumps(row), flush=True)
    if chosen.out:
        chosen.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
