"""What does a compressed descriptor no longer see? The coverage rule and an alloy of four metals, by mode.

    python workflows/checks/compression.py [--only alloy coverage] [--out workflows/checks/results/compression.json]

EMT stands in for DFT. ``alloy``: random solid solutions of Ni, Cu, Pd and Pt at 500 K are known; met are new ones, the
neighbours of a vacancy, an interstitial, atoms within a cluster of one species, and the liquid. Printed for each mode: features,
directions, microseconds of CPU an atom for descriptors and for uncertainties, the share of these atoms above the threshold, and
the area under the curve that tells them from new solid solution. ``coverage``: the check of ``coverage_rule.py`` on Ni3Al with
3 000 environments, by mode.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from coverage_rule import N_FRAMES, first_force_field, frames_of, run, training_set, with_interstitial, with_vacancy
from detection import area

from idealflow.core import SOAP, UncertaintyModel
from idealflow.core.descriptors.compression import MODES
from workbench.keeping import add_out, keep
from workbench.threads import one_thread
from workbench.timing import cpu_seconds

SPECIES = ("Ni", "Cu", "Pd", "Pt")
BASIS = {"r_cut": 4.0, "n_max": 6, "l_max": 6, "sigma": 0.4}
HOST = 5
TEMPERATURE, LIQUID = 500, 4_000
ALL_MODES = (None, *MODES)

Kinds = dict[str, list[tuple[Atoms, np.ndarray]]]


def solution(seed: int, repeat: int = 3) -> Atoms:
    """A random solid solution."""
    atoms = bulk("Ni", "fcc", a=3.75, cubic=True).repeat(repeat)
    atoms.symbols[:] = np.random.default_rng(seed).permutation(np.resize(SPECIES, len(atoms)))
    return atoms


def near(atoms: Atoms, reach: float) -> np.ndarray:
    """Which atoms lie within ``reach`` (Å) of the host's site in the perfect crystal."""
    middle = solution(0).positions[HOST]
    probe = atoms + Atoms("H", [middle])
    return probe.get_distances(len(atoms), np.arange(len(atoms)), mic=True) < reach


def met(quick: bool) -> Kinds:
    """Frames of everything that is met, and which of their atoms are looked at."""
    n = 2 if quick else 8
    found: Kinds = {"solution, new": [], "beside a vacancy": [], "interstitial": [], "one species": [], "liquid": []}
    for seed in range(100, 100 + n):
        whole = np.ones(len(solution(seed)), dtype=bool)
        vacancy, dumbbell, cluster = solution(seed), solution(seed), solution(seed)
        del vacancy[HOST]
        dumbbell.append(dumbbell[HOST])
        dumbbell.positions[HOST, 0] -= 0.6
        dumbbell.positions[-1, 0] += 0.6
        around = near(cluster, 4.0)
        cluster.symbols[around] = SPECIES[seed % len(SPECIES)]
        for kind, atoms, chosen, temperature in (
            ("solution, new", solution(seed), whole, TEMPERATURE),
            ("beside a vacancy", vacancy, near(vacancy, 3.2), TEMPERATURE),
            ("interstitial", dumbbell, near(dumbbell, 3.2), TEMPERATURE),
            ("one species", cluster, near(cluster, 3.2), TEMPERATURE),
            ("liquid", solution(seed), whole, LIQUID),
        ):
            settle = 150 if temperature == TEMPERATURE else 600
            for frame in frames_of(atoms, 2, 20, seed, temperature=temperature, settle=settle):
                found[kind].append((frame, chosen))
    return found


def alloy(quick: bool) -> list[dict[str, Any]]:
    """One row for each mode."""
    known = [
        frame
        for seed in range(6 if quick else 24)
        for frame in frames_of(solution(seed), 2 if quick else 6, 20, seed, temperature=TEMPERATURE, settle=150)
    ]
    tests, rows = met(quick), []
    for mode in ALL_MODES:
        soap = SOAP(SPECIES, **BASIS, compression=None if mode is None else {"mode": mode})
        model = UncertaintyModel.fit(known, soap)
        threshold = model.auto_threshold()
        values = {
            kind: np.concatenate([model(frame)[chosen] for frame, chosen in frames]) for kind, frames in tests.items()
        }
        usual = values["solution, new"]
        frame = soap.prepare(frames_of_large())
        soap_us, all_us = (
            1e6 * min(cpu_seconds(lambda w=work, f=frame: w(f)) for _ in range(7)) / len(frame)
            for work in (soap, model)
        )
        row: dict[str, Any] = {
            "mode": "off" if mode is None else mode, "features": soap.n_features, "known": sum(map(len, known)),
            "directions": max(len(one.directions) for one in model.known.whiteners() if one is not None),
            "threshold": threshold, "soap_us": soap_us, "uncertainty_us": all_us,
            "above": {kind: float((value > threshold).mean()) for kind, value in values.items()},
            "auc": {
                kind: area(np.concatenate([usual, value]), np.repeat([False, True], [len(usual), len(value)]))
                for kind, value in values.items() if kind != "solution, new"
            },
        }  # fmt: skip
        shares = "  ".join(
            f"{kind} {100 * row['above'][kind]:.1f} % ({row['auc'][kind]:.3f})" if kind in row["auc"] else
            f"{kind} {100 * row['above'][kind]:.1f} %" for kind in values
        )  # fmt: skip
        print(
            f"{row['mode']:10s}{soap.n_features:6d}{row['directions']:5d}{soap_us:7.1f}{all_us:7.1f}  {shares}",
            flush=True,
        )
        rows.append(row)
    return rows


def frames_of_large() -> Atoms:
    """A thousand atoms, for the times."""
    atoms = solution(7, repeat=6)
    atoms.rattle(0.1, seed=0)
    return atoms


def coverage(quick: bool) -> list[dict[str, Any]]:
    """The coverage rule on Ni3Al, a row for each mode."""
    system = "Ni3Al"
    vacancy = frames_of(with_vacancy(system), 6 if quick else N_FRAMES, every=20, seed=2)
    interstitial = frames_of(with_interstitial(system), 4 if quick else 24, every=20, seed=3)
    first, training = first_force_field(system), training_set(system, 3_000)
    rows = []
    for mode in ALL_MODES:
        compression = None if mode is None else {"mode": mode}
        rows.append(
            {"mode": "off" if mode is None else mode} | run(system, training, vacancy, interstitial, first, compression)
        )
    return rows


PARTS = {"alloy": alloy, "coverage": coverage}


def main() -> None:
    parser = argparse.ArgumentParser(description="What compressed descriptors no longer see; EMT stands in for DFT.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer frames")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    for name in arguments.only:
        keep(arguments.out, **{name: PARTS[name](arguments.quick)})


if __name__ == "__main__":
    main()
