"""A chain crystal → liquid → another crystal, by one Gaussian and by the mixture: labels spent, errors at the end.

    python workflows/checks/phase_chain.py [--folder DIR] [--out workflows/checks/results/phase_chain.json]

Two campaigns for each measure (EMT stands in for DFT): fcc copper of 108 atoms is held, melted and held as a liquid; then
body-centred copper of 128 atoms runs on from all that the first has learned. Printed: labels of both; energy and force errors
of the models after the first and after the second campaign on frames of crystal, liquid and bcc that neither has met.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.build import bulk

from idealflow import Campaign
from idealflow.cli.main import main as idealflow
from workbench.crystals import rattled
from workbench.keeping import add_out, keep
from workbench.phases import SYSTEMS
from workbench.threads import one_thread

EMT = {"labeller": {"calculator": "ase.calculators.emt.EMT", "reference": "EMT (stands in for DFT)"}}
COMMON = {
    "seed": 0, "label": EMT, "screen": {"max_centres": 2}, "crop": {"n_candidates": 20, "max_atoms": 90},
    "relax": {"max_steps": 60}, "evaluation": {"n_frames": 4}, "workers": 1,
}  # fmt: skip


def segment(*stages: tuple[float, int]) -> dict[str, Any]:
    """Holds at temperatures, K, for so many steps."""
    return {
        "sampler": {"name": "langevin", "timestep": 2.0, "friction": 0.02}, "check_interval": 5, "segment_steps": 100,
        "schedule": [{"kind": "hold", "temperature": temperature, "steps": steps} for temperature, steps in stages],
    }  # fmt: skip


def melt(measure: str) -> dict[str, Any]:
    """The config of the first campaign."""
    seeds = [{"element": "Cu", "crystal": "fcc", "a": 3.62, "cubic": True, "repeat": [2, 2, 2]}]
    return COMMON | {
        "campaign": f"melt-{measure}",
        "structure": {"element": "Cu", "crystal": "fcc", "a": 3.7, "cubic": True, "repeat": [3, 3, 3]},
        "bootstrap": {
            "seeds": seeds, "n_structures": 24, "rattle": [0.02, 0.12], "strain": 0.03, "uncertainty": measure,
            "soap": {"r_cut": 3.2, "n_max": 5, "l_max": 5, "sigma": 0.3}, "force_field_settings": {"cutoff": 4.3},
        },
        "segment": segment((400, 60), (4500, 200), (1800, 200)),
    }  # fmt: skip


def other_phase(measure: str, folder: Path) -> dict[str, Any]:
    """The config of the second."""
    return COMMON | {
        "campaign": f"bcc-{measure}",
        "structure": {"element": "Cu", "crystal": "bcc", "a": 2.88, "cubic": True, "repeat": [4, 4, 4]},
        "bootstrap": {"campaign": str(folder)},
        "segment": segment((300, 150)),
    }


def run(config: dict[str, Any], folder: Path) -> Campaign:
    """Run a campaign in a folder, or go on with it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    out = folder / "out"
    if idealflow(["run", str(file), "--out", str(out), "--quiet"]):
        raise SystemExit(f"the campaign in {folder} failed")
    return Campaign.open(out)


def test_frames() -> dict[str, list[Atoms]]:
    """Labelled frames of each phase that no campaign has met."""
    copper = SYSTEMS["Cu"]
    crystal = bulk("Cu", "fcc", a=3.7, cubic=True) * 3
    liquid = copper.run(crystal, 1, 4500, seed=11, settle=300)[0]
    return {
        "crystal": copper.run(crystal, 3, 400, seed=12, settle=100),
        "liquid": copper.run(liquid, 4, 1800, seed=13, settle=200),
        "bcc": [copper.label(rattled(bulk("Cu", "bcc", a=2.88, cubic=True) * 4, 0.08, [seed, 3])) for seed in range(3)],
    }


def errors(campaign: Campaign, frames: dict[str, list[Atoms]]) -> dict[str, list[float]]:
    """Error of the energy with its sign (meV/atom) and mean one of force components (meV/Å), by phase."""
    found = {}
    for phase, each in frames.items():
        energies, forces = [], []
        for atoms in each:
            moved = atoms.copy()
            moved.calc = campaign.model().calculator()
            energies.append(1e3 * (moved.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
            forces.append(1e3 * np.abs(moved.get_forces() - atoms.get_forces()).mean())
        found[phase] = [float(np.mean(energies)), float(np.mean(forces))]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Crystal, liquid, another crystal: labels and errors by measure.")
    parser.add_argument("--measures", nargs="+", default=["soap", "mixture"])
    parser.add_argument("--folder", type=Path, help="where the campaigns lie; default: a temporary folder")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    frames = test_frames()
    for measure in arguments.measures:
        first = run(melt(measure), folder / f"melt-{measure}")
        second = run(other_phase(measure, folder / f"melt-{measure}" / "out"), folder / f"bcc-{measure}")
        row = {
            "labels": [len(each.substructures(state="accepted")) for each in (first, second)],
            "after_liquid": errors(first, frames), "after_bcc": errors(second, frames),
        }  # fmt: skip
        print(measure, row, flush=True)
        keep(arguments.out, **{measure: row})


if __name__ == "__main__":
    main()
