"""A short campaign with a force field by message passing: CPU time, and errors of the last model on whole frames.

    python workflows/benchmarks/message_passing_campaign.py FOLDER [--force-field m3gnet-small]
        [--out workflows/benchmarks/results/message_passing_campaign.json]

107 copper atoms, labelled by EMT (which stands in for DFT), heated from 300 to 2000 K in 300 steps of 2 fs. Errors are those on
every tenth frame of the trajectory against EMT. One process does all
jobs, and its CPU time is told; run it with one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from ase.calculators.emt import EMT

from idealflow.cli import main as idealflow
from idealflow.provenance import Campaign


def config(force_field: str, seed: int) -> dict[str, object]:
    """The campaign, as a config file has it."""
    learning = {"fit_steps": 300, "batch_size": 4, "fit_learning_rate": 0.01} if force_field != "local" else {}
    return {
        "campaign": f"cu-{force_field}",
        "seed": seed,
        "structure": {"element": "Cu", "crystal": "fcc", "a": 3.7, "cubic": True, "repeat": [3, 3, 3], "vacancies": 1},
        "bootstrap": {
            "seeds": [{"element": "Cu", "crystal": "fcc", "a": 3.62, "cubic": True, "repeat": [2, 2, 2]}],
            "n_structures": 24,
            "rattle": [0.02, 0.2],
            "strain": 0.03,
            "soap": {"r_cut": 4.0, "n_max": 6, "l_max": 6, "sigma": 0.4},
            "force_field": force_field,
            "force_field_settings": {"cutoff": 5.0, **learning},
        },
        "segment": {
            "sampler": {"name": "langevin", "timestep": 2.0, "friction": 0.01},
            "schedule": [{"kind": "ramp", "temperature": 300, "to": 2000, "steps": 300}],
            "check_interval": 10,
            "segment_steps": 300,
        },
        "screen": {"max_centres": 4},
        "crop": {"n_candidates": 50, "max_atoms": 120},
        "label": {"labeller": {"calculator": "ase.calculators.emt.EMT", "reference": "EMT (stands in for DFT)"}},
        "update": {"n_steps": 20, "n_replay": 16, "learning_rate": 0.001},
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--force-field", default="m3gnet-small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file of results, in which this force field's is put")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    path = chosen.folder / "config.yaml"
    path.write_text(yaml.safe_dump(config(chosen.force_field, chosen.seed), sort_keys=False))
    started = time.process_time()
    if status := idealflow(["run", str(path), "--out", str(chosen.folder / "run"), "--workers", "1", "--quiet"]):
        raise SystemExit(status)
    cpu = time.process_time() - started
    campaign = Campaign.open(chosen.folder / "run")
    summary = json.loads((chosen.folder / "run" / "summary.json").read_text())
    calculator, errors = campaign.model().calculator(), []
    for frame in campaign.trajectory():
        found, reference = frame.copy(), frame.copy()
        found.calc, reference.calc = calculator, EMT()
        energy = found.get_potential_energy() - reference.get_potential_energy()
        errors.append((abs(energy) / len(frame), np.abs(found.get_forces() - reference.get_forces()).mean()))
    energy_error, force_error = np.mean(errors, axis=0)
    result = {
        "force_field": chosen.force_field,
        "seed": chosen.seed,
        "cpu_s": round(cpu, 1),
        "n_labels": summary["n_substructures"],
        "n_frames": len(errors),
        "energy_meV_per_atom": round(1000 * float(energy_error), 2),
        "force_meV_per_A": round(1000 * float(force_error), 1),
    }
    print(json.dumps(result, indent=1))
    if chosen.out:
        kept = json.loads(chosen.out.read_text()) if chosen.out.exists() else []
        others = [one for one in kept if (one["force_field"], one["seed"]) != (chosen.force_field, chosen.seed)]
        chosen.out.write_text(json.dumps([*others, result], indent=1) + "\n")


if __name__ == "__main__":
    main()
