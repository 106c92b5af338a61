"""What `threshold: auto` catches, what it lets pass, and how wrong a force field is there.

    python workflows/checks/threshold.py [--out workflows/checks/results/threshold.json]

For Cu and Ni3Al (EMT stands in for DFT): a distribution and a local force field from crystal frames of one size at 500 K.
Printed: the automatic threshold τ; the share of atoms, and of frames with at least one atom, above it in new crystal
frames of 500 atoms, around a vacancy, and in the liquid; then the force field's error by uncertainty over τ, pooled
over all those frames.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np
from ase import Atoms
from coverage_rule import HOST, crystal, frames_of

from idealflow.core import SOAP, UncertaintyModel
from idealflow.forcefields import get_force_field
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

EDGES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, np.inf)


def melt(system: str) -> list[Atoms]:
    """A liquid above 3000 K."""
    return frames_of(crystal(system, 4), 5, every=40, seed=4, temperature=3500, settle=400)


def vacancy(system: str) -> Atoms:
    atoms = crystal(system, 5)
    del atoms[HOST]
    return atoms


def main() -> None:
    parser = argparse.ArgumentParser(description="What the automatic threshold catches.")
    add_out(parser)
    out = parser.parse_args().out
    one_thread()
    print("Reference: ASE's EMT, standing in for first principles.")
    rows, errors = [], []
    print(
        f"{'system':7s}{'cells':>14s}{'τ':>6s}  atoms above τ, %: crystal vacancy liquid   frames, %: crystal vacancy"
    )
    for system in ("Cu", "Ni3Al"):
        species = sorted(set(crystal(system, 1).get_chemical_symbols()))
        tests = [
            frames_of(crystal(system, 5), 40, every=40, seed=2),
            frames_of(vacancy(system), 20, every=40, seed=3),
            melt(system),
        ]
        for repeat, n in ((2, 8), (2, 40), (3, 8), (3, 40), (5, 40)):
            training = frames_of(crystal(system, repeat), n, every=40, seed=1)
            model = UncertaintyModel.fit(training, SOAP(species, r_cut=4.0, n_max=6, l_max=6, sigma=0.4))
            threshold = model.auto_threshold()
            values = [np.array([model(frame) for frame in frames]) / threshold for frames in tests]
            atoms = [100 * float((value > 1).mean()) for value in values]
            frames = [100 * float((value.max(axis=1) > 1).mean()) for value in values]
            print(
                f"{system:7s}{n:5d} × {len(training[0]):4d}  {threshold:6.1f} {atoms[0]:25.3f} {atoms[1]:7.2f} {atoms[2]:6.1f}"
                f" {frames[0]:21.0f} {frames[1]:7.0f}",
                flush=True,
            )
            rows.append({
                "system": system, "n_frames": n, "n_atoms": len(training[0]), "threshold": threshold,
                "atoms_above": atoms, "frames_above": frames[:2],
            })  # fmt: skip
            if (repeat, n) == (3, 40):
                errors.append({"system": system, "by_ratio": binned(species, training, tests, values)})
    keep(out, caught=rows, edges=EDGES[:-1], force_errors=errors)
    print("\nforce error, meV/Å, of a force field trained on 40 × 108 atoms, by uncertainty over τ")
    print("u/τ      " + " ".join(f"{low:g}–{high:g}".rjust(9) for low, high in pairwise(EDGES)))
    for row in errors:
        print(f"{row['system']:9s}" + " ".join(f"{value:9.1f}" for value in row["by_ratio"]))


def binned(species: list[str], training: list[Atoms], tests: list[list[Atoms]], values: list[np.ndarray]) -> np.ndarray:
    """Mean force error, meV/Å, in bins of uncertainty over the threshold."""
    force_field = get_force_field("local", species=species, cutoff=5.0)
    force_field.fit(training, steps=1500, seed=0)
    error, ratio = [], []
    for frames, value in zip(tests, values, strict=True):
        for frame, u in zip(frames, value, strict=True):
            atoms = frame.copy()
            atoms.calc = force_field.calculator()
            error.append(1e3 * np.abs(atoms.get_forces() - frame.get_forces()).mean(axis=1))
            ratio.append(u)
    everything, where = np.concatenate(error), np.digitize(np.concatenate(ratio), EDGES) - 1
    return np.array([everything[where == b].mean() if (where == b).any() else np.nan for b in range(len(EDGES) - 1)])


if __name__ == "__main__":
    main()
