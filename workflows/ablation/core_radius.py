"""Should a core grow with the reach of a force field that passes messages? Campaigns with two core radii.

    python workflows/ablation/core_radius.py FOLDER [--arms cutoff reach] [--seeds 0 1]
        [--out workflows/ablation/results/core_radius.json]

499 copper atoms, labelled by EMT (which stands in for DFT), heated from 300 to 2200 K in 400 steps of 2 fs on M3GNet 2 × 32 with
a cutoff of 4 Å, so that atoms up to 8 Å away change an atom's energy. The core of a substructure, which stays as it was in the
frame, is the sphere that SOAP sees: 4.5 Å, one cutoff with a margin, or 7.5 Å, nearly the reach; a third arm has the small core
in cells as large as those of the large one. First and last model are judged on every twentieth frame of a run with EMT, which no
campaign saw. One process does all jobs; times are of the processor, on one thread.
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
from ase.calculators.emt import EMT
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from idealflow.cli import main as idealflow
from idealflow.config_text import dump_yaml
from idealflow.forcefields import ForceField
from idealflow.provenance import Campaign
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

CUTOFF, SIGMA, STEPS, HOTTEST = 4.0, 0.4, 400, 2200.0
#: SOAP's r_cut, Å, and the largest number of atoms of a cell
ARMS = {"cutoff": (3.0, 150), "reach": (6.0, 360), "cutoff, large cells": (3.0, 360)}


def config(arm: str, seed: int) -> dict[str, Any]:
    """The campaign, as a config file has it."""
    r_cut, max_atoms = ARMS[arm]
    return {
        "campaign": f"core-{arm.replace(', ', '-').replace(' ', '-')}-{seed}",
        "seed": seed,
        "structure": {"element": "Cu", "a": 3.75, "cubic": True, "repeat": 5, "vacancies": 1},
        "bootstrap": {
            "seeds": [{"element": "Cu", "a": 3.62, "cubic": True, "repeat": 2}],
            "n_structures": 24,
            "rattle": [0.02, 0.15],
            "strain": 0.03,
            "soap": {"r_cut": r_cut, "n_max": 6, "l_max": 6, "sigma": SIGMA},
            "force_field": "m3gnet-small",
            "force_field_settings": {"cutoff": CUTOFF, "fit_steps": 300, "fit_learning_rate": 0.01},
        },
        "segment": {
            "sampler": {"name": "langevin", "timestep": 2.0, "friction": 0.01},
            "schedule": [{"kind": "ramp", "temperature": 300, "to": HOTTEST, "steps": STEPS}],
            "check_interval": 20,
            "segment_steps": STEPS,
        },
        "screen": {"max_centres": 2},
        "crop": {"max_atoms": max_atoms, "whole_if_small": False},
        "label": {"labeller": {"calculator": "ase.calculators.emt.EMT", "reference": "EMT (stands in for DFT)"}},
        "update": {"learning_rate": 0.001, "consolidation_steps": 300},
        "evaluation": {"n_frames": 0},
    }


def judges(folder: Path) -> list[Atoms]:
    """Frames of a run with EMT as hot as the campaigns', made once."""
    path = folder / "judges.traj"
    if not path.exists():
        atoms, rng, frames = bulk("Cu", a=3.75, cubic=True).repeat(5), np.random.default_rng(77), []
        del atoms[100]
        atoms.calc = EMT()
        thermalize_momenta(atoms, temperature_K=600, rng=rng)
        motion = Langevin(atoms, 2 * units.fs, temperature_K=300, friction=0.01 / units.fs, rng=rng, fixcm=False)
        for step in range(0, STEPS, 20):
            motion.set_temperature(temperature_K=300 + (HOTTEST - 300) * step / STEPS)
            motion.run(20)
            frames.append(atoms.copy())
        folder.mkdir(parents=True, exist_ok=True)
        write(path, frames)
    return read(path, ":")


def errors(force_field: ForceField, frames: list[Atoms]) -> list[list[float]]:
    """Errors of each frame: meV/atom, meV/Å."""
    calculator, found = force_field.calculator(), []
    for frame in frames:
        mine, reference = frame.copy(), frame.copy()
        mine.calc, reference.calc = calculator, EMT()
        energy = abs(mine.get_potential_energy() - reference.get_potential_energy()) / len(frame)
        found.append([1e3 * energy, 1e3 * float(np.abs(mine.get_forces() - reference.get_forces()).mean())])
    return found


def campaign_of(arm: str, seed: int, folder: Path, frames: list[Atoms]) -> dict[str, Any]:
    """Run one campaign, or go on with it, and judge its models."""
    folder.mkdir(parents=True, exist_ok=True)
    path, run = folder / "config.yaml", folder / "run"
    path.write_text(dump_yaml(config(arm, seed)))
    started = time.process_time()
    if status := idealflow(["run", str(path), "--out", str(run), "--workers", "1", "--quiet"]):
        raise SystemExit(status)
    cpu = time.process_time() - started
    campaign = Campaign.open(run)
    summary = json.loads((run / "summary.json").read_text())
    sizes = [len(atoms) for atoms, origin in _labels(campaign) if origin == "substructure"]
    first, last = (np.array(errors(campaign.model(version), frames)) for version in (0, None))
    hot = len(frames) // 2
    return {
        "arm": arm,
        "seed": seed,
        "core_A": ARMS[arm][0] + 3.717 * SIGMA,
        "reach_A": 2 * CUTOFF,
        "labels": summary["n_substructures"],
        "failed": summary["n_failed_labels"],
        "atoms_a_label": float(np.mean(sizes)) if sizes else 0.0,
        "first": first.mean(axis=0),
        "last": last.mean(axis=0),
        "last_hot": last[hot:].mean(axis=0),
        "cpu_s": cpu,
    }


def _labels(campaign: Campaign) -> list[tuple[Atoms, str]]:
    return [(atoms, atoms.info.get("origin", "")) for atoms in campaign.dataset()]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    add_out(parser)
    chosen = parser.parse_args()
    one_thread()
    folder = chosen.folder.absolute()
    frames = judges(folder)
    for seed in chosen.seeds:
        for arm in chosen.arms:
            row = campaign_of(arm, seed, folder / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}", frames)
            print(json.dumps(row, default=list), flush=True)
            kept = json.loads(chosen.out.read_text())["campaigns"] if chosen.out and chosen.out.exists() else []
            others = [one for one in kept if (one["arm"], one["seed"]) != (arm, seed)]
            keep(chosen.out, campaigns=[*others, row])


if __name__ == "__main__":
    main()
