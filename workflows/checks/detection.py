"""Is another phase seen as new once crystal and liquid are known? One Gaussian, mixtures, neighbours, averages.

    python workflows/checks/detection.py [--systems Cu Li] [--frames FOLDER] [--out workflows/checks/results/detection.json]

A model knows frames of a crystal and of its liquid (`workbench.phases`; EMT and, for lithium, SNAP stand in for DFT). It meets
new frames of both, other phases, a vacancy and an interstitial. Printed for each, by each measure: the median of uncertainty
over threshold, and the share of atoms above it. Then two areas under the curve, by a force field that learned the known frames:
for atoms whose force error is more than three times the mean one of new frames of what is known; and for atoms of phases
whose energy is wrong by more than three times that of what is known, and by 1 meV/atom. With ``--frames`` the frames are kept
in a folder, or read from it.

Measures: `soap` (one Gaussian); the nearest known environment; mixtures of up to 2, 4 and 8 Gaussians with one threshold or with
each component's own; such of vectors averaged over neighbours; `mixture`, the package's. The threshold of a measure that has none
of its own is twice the 99th percentile of what is known.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read, write
from scipy.stats import rankdata

from idealflow.core import SOAP, MixtureModel, UncertaintyModel
from idealflow.core.averaging import Neighbourhoods
from idealflow.core.components import Components
from idealflow.forcefields import get_force_field
from workbench.keeping import add_out, keep
from workbench.phases import SYSTEMS, Phases
from workbench.threads import one_thread

SETTINGS = {"r_cut": 4.0, "n_max": 6, "l_max": 6, "sigma": 0.4}
KNOWN = ("crystal", "liquid")
NEW = tuple(f"{name}, new" for name in KNOWN)
TAIL, FACTOR, EXCESS = 0.99, 2.0, 3.0
Float = np.ndarray
Measure = Callable[[Atoms], Float]


def frames_of(system: Phases, folder: Path | None) -> dict[str, list[Atoms]]:
    """All frames of a system by kind, kept in a folder if one is given."""
    path = None if folder is None else folder / f"{system.name}.extxyz"
    if path is None or not path.exists():
        found = system.known() | system.unknown()
        if path is None:
            return found
        path.parent.mkdir(parents=True, exist_ok=True)
        for kind, frames in found.items():
            for atoms in frames:
                atoms.info["kind"] = kind
        write(path, [atoms for frames in found.values() for atoms in frames])
    kinds: dict[str, list[Atoms]] = {}
    for atoms in read(path, ":"):
        kinds.setdefault(atoms.info["kind"], []).append(atoms)
    return kinds


def averaged(soap: SOAP, atoms: Atoms) -> Float:
    """SOAP vectors averaged over neighbours."""
    frame = soap.prepare(atoms)
    around = Neighbourhoods(frame, np.arange(len(atoms)), soap.cutoff)
    return around.averages(soap(frame))


def of_species(
    vectors: Callable[[Atoms], Float], known: list[Atoms], make: Callable[[Float], Callable[[Float], Float]]
) -> Measure:
    """A measure that ``make`` makes of each species' known vectors."""
    rows = [(atoms.numbers, vectors(atoms)) for atoms in known]
    numbers = np.unique(known[0].numbers)
    made = {z: make(np.concatenate([v[own == z] for own, v in rows])) for z in numbers.tolist()}

    def measure(atoms: Atoms) -> Float:
        found, all_vectors = np.empty(len(atoms)), vectors(atoms)
        for z in numbers.tolist():
            found[atoms.numbers == z] = made[z](all_vectors[atoms.numbers == z])
        return found

    return measure


def over_tail(distance: Callable[[Float], Float], tail: Float) -> Callable[[Float], Float]:
    threshold = FACTOR * np.quantile(tail, TAIL)
    return lambda rows: distance(rows) / threshold


def nearest(known: Float) -> Callable[[Float], Float]:
    """Distance from the nearest known vector, in the metric of one Gaussian."""
    metric = _components(known, 1).parts[0].metric.whitener
    own = metric(known)
    sizes = (own**2).sum(axis=1)

    def distance(rows: Float, which: int = 0) -> Float:
        here = metric(rows)
        apart = (here**2).sum(axis=1)[:, None] + sizes - 2.0 * here @ own.T
        return np.maximum(np.partition(apart, which, axis=1)[:, which], 0.0)

    return over_tail(distance, distance(known, 1))


def _components(known: Float, most: int) -> Components:
    found = Components(known.shape[1], most, 40, 1e-7, 0)
    found.join(known)
    return found


def own_thresholds(known: Float, most: int) -> Callable[[Float], Float]:
    return _components(known, most).ratios


def one_threshold(known: Float, most: int) -> Callable[[Float], Float]:
    parts = _components(known, most).parts

    def distance(rows: Float) -> Float:
        return np.min([part.ratios(rows) * part.threshold for part in parts], axis=0)

    return over_tail(distance, distance(known))


def measures(soap: SOAP, known: list[Atoms]) -> dict[str, Measure]:
    """Every measure: atoms to uncertainties over the threshold."""
    one, mixture = UncertaintyModel.fit(known, soap), MixtureModel.fit(known, soap)
    around = partial(averaged, soap)
    found: dict[str, Measure] = {"soap": lambda atoms: one(atoms) / one.auto_threshold()}
    found["nearest"] = of_species(soap, known, nearest)
    for most in (2, 4, 8):
        found[f"up to {most} Gaussians, one threshold"] = of_species(soap, known, partial(one_threshold, most=most))
        found[f"up to {most} Gaussians, own thresholds"] = of_species(soap, known, partial(own_thresholds, most=most))
    found["averaged, 1 Gaussian"] = of_species(around, known, partial(own_thresholds, most=1))
    for most in (2, 8):
        found[f"averaged, {most} Gaussians, one threshold"] = of_species(
            around, known, partial(one_threshold, most=most)
        )
        found[f"averaged, {most} Gaussians, own thresholds"] = of_species(
            around, known, partial(own_thresholds, most=most)
        )
    found["mixture"] = lambda atoms: mixture(atoms) / mixture.auto_threshold()
    print(f"Gaussians: {mixture.n_components}")
    return found


def area(scores: Float, bad: np.ndarray) -> float:
    """Area under the receiver operating characteristic."""
    n = int(bad.sum())
    if n in (0, len(bad)):
        return float("nan")
    return float((rankdata(scores)[bad].sum() - n * (n + 1) / 2) / (n * (len(bad) - n)))


def errors_of(
    system: Phases, kinds: dict[str, list[Atoms]], steps: int
) -> tuple[dict[str, list[Float]], dict[str, float]]:
    """Force error of each atom (eV/Å), and mean error of the energy with its sign (meV/atom), of a model of the known frames."""
    known = [atoms for kind in KNOWN for atoms in kinds[kind]]
    force_field = get_force_field("local", species=list(system.species), cutoff=5.0)
    force_field.fit(known, steps=steps, seed=0)
    forces: dict[str, list[Float]] = {}
    energies: dict[str, float] = {}
    for kind, frames in kinds.items():
        apart = []
        for atoms in frames:
            moved = atoms.copy()
            moved.calc = force_field.calculator()
            forces.setdefault(kind, []).append(np.linalg.norm(moved.get_forces() - atoms.get_forces(), axis=1))
            apart.append((moved.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
        energies[kind] = 1e3 * float(np.mean(apart))
    return forces, energies


def detect(system: Phases, kinds: dict[str, list[Atoms]], steps: int) -> dict[str, Any]:
    """The figures of one system."""
    soap = SOAP(list(system.species), **SETTINGS)
    forces, energies = errors_of(system, kinds, steps)
    tests = [kind for kind in kinds if kind not in KNOWN]
    usual = float(np.concatenate([each for kind in NEW for each in forces[kind]]).mean())
    bad = np.concatenate([each for kind in tests for each in forces[kind]]) > EXCESS * usual
    # and whole phases: those whose energy is wrong by more than three times that of what is known, and 1 meV/atom
    limit = max(1.0, EXCESS * max(abs(energies[kind]) for kind in NEW))
    sizes = {kind: sum(map(len, kinds[kind])) for kind in tests}
    of_wrong_phase = np.repeat([abs(energies[kind]) > limit for kind in tests], [sizes[kind] for kind in tests])
    found: dict[str, Any] = {
        "wrong_phases": [kind for kind in tests if abs(energies[kind]) > limit],
        "known": sum(len(atoms) for kind in KNOWN for atoms in kinds[kind]), "usual_force_error": usual,
        "wrong": float(bad.mean()), "energy_error": {kind: energies[kind] for kind in tests},
        "force_error": {kind: float(np.concatenate(forces[kind]).mean()) for kind in tests}, "measures": {},
    }  # fmt: skip
    for name, measure in measures(soap, [atoms for kind in KNOWN for atoms in kinds[kind]]).items():
        values = {kind: np.concatenate([measure(atoms) for atoms in kinds[kind]]) for kind in tests}
        everything = np.concatenate(list(values.values()))
        found["measures"][name] = {
            "auc": area(everything, bad),
            "phase_auc": area(everything, of_wrong_phase),
            "wrong_and_above": float((everything[bad] > 1.0).mean()) if bad.any() else float("nan"),
            "median": {kind: float(np.median(value)) for kind, value in values.items()},
            "above": {kind: float((value > 1.0).mean()) for kind, value in values.items()},
        }
        areas = [found["measures"][name][key] for key in ("auc", "phase_auc")]
        print(f"{system.name:6s} {name:40s} auc {areas[0]:.3f} {areas[1]:.3f}  " + "  ".join(
            f"{kind} {np.median(value):.2f} ({100 * (value > 1).mean():.0f} %)" for kind, value in values.items()
        ), flush=True)  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Is another phase seen once crystal and liquid are known?")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--frames", type=Path, help="folder in which frames are kept, or found")
    parser.add_argument("--steps", type=int, default=500, help="gradient steps of the force field")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    for name in arguments.systems:
        kinds = frames_of(SYSTEMS[name], arguments.frames)
        found = detect(SYSTEMS[name], kinds, arguments.steps)
        errors = ", ".join(f"{kind} {error:+.1f}" for kind, error in found["energy_error"].items())
        print(f"{name}: energy errors, meV/atom: {errors}; {100 * found['wrong']:.0f} % of atoms wrong", flush=True)
        keep(arguments.out, **{name: found})


if __name__ == "__main__":
    main()
