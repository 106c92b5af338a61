"""How much of Al2O3's error is out of a short-sighted force field's reach? Matsui's Coulomb acts up to 10 Å, it sees 5.

    python workflows/ablation/floor.py [--seed 0] [--steps 3000] [--out ablation]

The rigid-ion model is a sum over pairs, so that its labels can be taken again from a reference that sees no farther than
the force field: every pair potential is ended at that cutoff, in value and slope. The arm of whole frames is repeated with
them: the same first structures, frames and training, and the same hundred frames to test. By how much its errors are
smaller is what distant ions cost. Run ablate.py first, with the same --out. The pairs computed here must add up to the
engine's forces, or the script ends. Prints a table; writes OUT/floor-al2o3-SEED.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import neighbor_list
from scipy.special import erfc

from workbench.matsui import BORN_CUTOFF, COULOMB, COULOMB_CUTOFF, DAMPING, MATSUI, born, screened_slope
from workbench.runs import CUTOFF, first_model, frames_of, learning_frames, say
from workbench.systems import SYSTEMS
from workbench.threads import one_thread
from workbench.training import frame_errors, train

AGREED = 1e-4  # eV/Å, between the pairs here and the engine


def pair(a: str, b: str, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Potential of two ions, eV, and its derivative, eV/Å, at distances r up to the Coulomb cutoff."""
    prefactor, rho, size, c6 = born(a, b)
    within = r < BORN_CUTOFF
    repulsion = prefactor * np.exp((size - r) / rho)
    energy = np.where(within, repulsion - c6 / r**6, 0.0)
    slope = np.where(within, -repulsion / rho + 6.0 * c6 / r**7, 0.0)
    charges = COULOMB * MATSUI[a].charge * MATSUI[b].charge
    edge = -screened_slope(np.array(COULOMB_CUTOFF))
    end = erfc(DAMPING * COULOMB_CUTOFF) / COULOMB_CUTOFF
    energy += charges * (erfc(DAMPING * r) / r - end + edge * (r - COULOMB_CUTOFF))
    slope += charges * (screened_slope(r) + edge)
    return energy, slope


def split(frame: Atoms) -> tuple[Atoms, Atoms]:
    """A labelled frame with the labels of the short-sighted reference and with what those lack.

    Raises
    ------
    SystemExit
        If the pairs do not add up to the engine's forces.
    """
    i, j, distances, vectors = neighbor_list("ijdD", frame, COULOMB_CUTOFF)
    symbols = np.array(frame.get_chemical_symbols())
    near_energy, near, total = 0.0, np.zeros((len(frame), 3)), np.zeros((len(frame), 3))
    for a in MATSUI:
        for b in MATSUI:
            chosen = (symbols[i] == a) & (symbols[j] == b)
            r, first = distances[chosen], i[chosen]
            energy, slope = pair(a, b, r)
            value, steepness = pair(a, b, np.array([CUTOFF]))
            within = r < CUTOFF
            near_energy += 0.5 * float((energy - value - steepness * (r - CUTOFF))[within].sum())
            short = np.where(within, slope - steepness, 0.0)
            for forces, slopes in ((total, slope), (near, short)):
                for axis in range(3):
                    forces[:, axis] += np.bincount(first, slopes / r * vectors[chosen, axis], len(frame))
    worst = float(np.abs(total - frame.get_forces()).max())
    if worst > AGREED:
        raise SystemExit(f"the pairs' forces differ from the engine's by {worst:.2g} eV/Å, allowed {AGREED:g}")
    far_energy = frame.get_potential_energy() - near_energy
    return labelled(frame, near_energy, near), labelled(frame, far_energy, frame.get_forces() - near)


def labelled(frame: Atoms, energy: float, forces: np.ndarray) -> Atoms:
    """A copy with these labels."""
    atoms = frame.copy()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def main() -> None:
    """Split, learn, test, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("ablation"))
    args = parser.parse_args()
    one_thread()
    system = SYSTEMS["al2o3"]
    run = json.loads((args.out / f"al2o3-{args.seed}.json").read_text())
    frames = frames_of(system, args.seed, args.out)
    learning = learning_frames(frames, run["frames"])
    learned = [learning[k] for k in sorted({one["frame"] for one in run["centres"]})]
    known = [system.label(atoms) for atoms in system.known(np.random.default_rng(args.seed))]
    sets = {"known": known, "learned": learned, "tested": frames[1::2]}
    near, far = {}, []
    for name, structures in sets.items():  # the tested ones come last
        near[name], far = map(list, zip(*map(split, structures), strict=True))
    energy, force = np.mean(run["arms"]["frame"]["errors"], axis=0)
    found = {"all of it": {"mean_force": mean_force(sets["tested"]), "energy": energy, "force": force}}
    first = first_model(system, near["known"], args.seed)
    trained = train(first, near["learned"], near["known"], args.seed, args.steps)
    energy, force = np.mean(frame_errors(trained.model, near["tested"]), axis=0)
    found["short-sighted"] = {"mean_force": mean_force(near["tested"]), "energy": energy, "force": force}
    result = found | {"distant ions": {"mean_force": mean_force(far)}, "drift": trained.drift}
    (args.out / f"floor-al2o3-{args.seed}.json").write_text(json.dumps(result) + "\n")
    say("| labels | mean force, meV/Å | energy error, meV/atom | force error, meV/Å |\n|---|---|---|---|")
    for name, one in found.items():
        say(f"| {name} | {1e3 * one['mean_force']:.1f} | {1e3 * one['energy']:.2f} | {1e3 * one['force']:.1f} |")
    say(
        f"\ndistant ions: mean force {1e3 * mean_force(far):.1f} meV/Å; drift of the second training {trained.drift:.3f}"
    )


def mean_force(frames: list[Atoms]) -> float:
    """Mean absolute component of the forces, eV/Å."""
    return float(np.mean([np.abs(one.get_forces()).mean() for one in frames]))


if __name__ == "__main__":
    main()
