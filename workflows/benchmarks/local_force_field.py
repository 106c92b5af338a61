"""Speed and accuracy of the built-in force field on one core; EMT stands in for first principles.

    python workflows/benchmarks/local_force_field.py [--seconds 120] [--md-steps 5000]

Prints the force field's goals beside what was measured:

- energy, forces and stress of Cu (fcc and liquid, 500 atoms) and Li (bcc, 432 atoms): at most 100 µs per atom;
- errors on held-out trajectories after two minutes of training from 160 cells (31 or 32 atoms, 300 K to liquid, every third
  with a vacancy): at most 20 meV/Å;
- 5 000 steps of 500-atom dynamics: at most 150 s; drift of the energy without a thermostat.

The training budget is gradient steps; the steps that fit into the seconds are measured first.
"""

import argparse
import time

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from idealflow.forcefields import ForceField, get_force_field
from workbench.crystals import copper, lithium
from workbench.threads import one_thread
from workbench.trajectories import trajectory

TEMPERATURES = (300, 900, 1600, 2500, 3000)
FS = units.fs


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Speed and accuracy of the built-in force field; EMT stands in for DFT."
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="training time, one core")
    parser.add_argument("--md-steps", type=int, default=5000)
    arguments = parser.parse_args()
    one_thread()
    print("Reference: ASE's EMT potential, standing in for first principles. One thread.")
    train = [cell for k in range(20) for cell in cells_of(k, n=8, every=60)]
    held_out = [cell for k in range(100, 115) for cell in cells_of(k, n=3, every=120)]
    print(f"{len(train)} training cells, {len(held_out)} held-out cells of other trajectories")

    force_field = get_force_field("local", species=["Cu"])
    force_field.fit(train, steps=5)  # compile
    started = time.perf_counter()
    force_field.fit(train, steps=100)
    steps = int(100 * arguments.seconds / (time.perf_counter() - started))
    started = time.perf_counter()
    force_field.fit(train, steps=steps)
    spent = time.perf_counter() - started
    print(f"training: {steps} steps in {spent:.0f} s ({1e3 * spent / steps:.1f} ms per step)")
    errors = 1e3 * force_field.errors(held_out).mean(axis=0)
    print(f"held-out errors: {errors[0]:.2f} meV/atom, {errors[1]:.1f} meV/Å (goal 20), {errors[2]:.2f} meV/Å³")

    crystal = copper(5, a=3.65)
    report_speed("Cu fcc", crystal, 0.1, force_field.calculator())
    liquid = molten(force_field.calculator(), arguments.md_steps)
    report_speed("Cu liquid", liquid, 0.0, force_field.calculator())
    light = lithium(6, a=3.5)
    report_speed("Li bcc", light, 0.1, untaught("Li", light).calculator())
    report_drift(force_field.calculator())


def cells_of(seed: int, n: int, every: int) -> list[Atoms]:
    """Labelled cells along a trajectory of the reference, from its beginning as a crystal."""
    rng = np.random.default_rng(seed)
    temperature = TEMPERATURES[seed % len(TEMPERATURES)]
    atoms = copper(2, a=rng.uniform(3.58, 3.80))
    if seed % 3 == 0:
        del atoms[int(rng.integers(len(atoms)))]
    return trajectory(atoms, n, every, rng, temperature=temperature, timestep=3.0)


def molten(calculator: Calculator, steps: int) -> Atoms:
    """500 Cu atoms after a run at 2200 K, timed."""
    atoms = copper(5, a=3.85)
    atoms.calc = calculator
    rng = np.random.default_rng(0)
    thermalize_momenta(atoms, temperature_K=4400, rng=rng)
    dynamics = Langevin(atoms, 2 * FS, temperature_K=2200, friction=0.01 / FS, rng=rng, fixcm=False)
    started = time.perf_counter()
    dynamics.run(steps)
    spent = time.perf_counter() - started
    distances = atoms.get_all_distances(mic=True)
    nearest = distances[np.triu_indices(len(atoms), 1)].min()
    print(
        f"dynamics: {steps} steps of 500 atoms at 2200 K in {spent:.0f} s (goal 150 for 5000); "
        f"{atoms.get_temperature():.0f} K, nearest pair {nearest:.2f} Å"
    )
    return atoms


def report_speed(name: str, atoms: Atoms, amplitude: float, calculator: Calculator) -> None:
    atoms = atoms.copy()
    atoms.rattle(amplitude, seed=0)
    atoms.calc = calculator
    atoms.get_forces()
    times = []
    for seed in range(20):
        atoms.rattle(1e-3, seed=seed)
        started = time.perf_counter()
        atoms.get_forces()
        atoms.get_stress()
        times.append(time.perf_counter() - started)
    print(f"{name}, {len(atoms)} atoms: {1e6 * np.median(times) / len(atoms):.1f} µs per atom (goal 100)")


def untaught(symbol: str, atoms: Atoms) -> ForceField:
    """A force field of another element, its size right and its content meaningless: EMT has no such element."""
    cell = atoms.copy()
    cell.calc = SinglePointCalculator(cell, energy=0.0, forces=np.zeros((len(cell), 3)))
    force_field = get_force_field("local", species=[symbol])
    force_field.fit([cell], steps=1)
    return force_field


def report_drift(calculator: Calculator) -> None:
    atoms = copper(4, a=3.63)
    atoms.calc = calculator
    thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
    energies: list[float] = []
    dynamics = VelocityVerlet(atoms, 2 * FS)
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()), interval=10)
    dynamics.run(2500)
    per_atom = np.array(energies) / len(atoms)
    slope = np.polyfit(0.02 * np.arange(len(per_atom)), per_atom, 1)[0]
    print(f"no thermostat, 5 ps at 300 K: drift {1e6 * slope:.2f} µeV/atom/ps, spread {1e6 * per_atom.std():.1f} µeV")


if __name__ == "__main__":
    main()
