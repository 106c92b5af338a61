"""A chain crystal → liquid → another crystal, by one Gaussian and by the mixture: labels spent, errors at the end.

    python workflows/checks/phase_chain.py [--systems Cu Ni3Al] [--folder DIR] [--out workflows/checks/results/phase_chain.json]

Two campaigns for each system and measure (EMT stands in for DFT): 108 atoms of fcc copper, or of Ni3Al in L1_2, are held, melted
and held as a liquid; then 128 atoms of body-centred copper, or of Ni3Al in D0_3, run on from all that the first has learned.
Printed: labels of both; energy and force errors of the models after the first and after the second campaign on frames of
crystal, liquid and the other crystal that neither has met.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write

from idealflow import Campaign
from idealflow.cli.main import main as idealflow
from workbench.crystals import copper, nickel_aluminide, rattled
from workbench.keeping import add_out, keep
from workbench.phases import SYSTEMS, Phases, d03
from workbench.threads import one_thread

EMT = {"labeller": {"calculator": "ase.calculators.emt.EMT", "reference": "EMT (stands in for DFT)"}}
COMMON = {
    "seed": 0, "label": EMT, "crop": {"n_candidates": 20, "max_atoms": 90},
    "relax": {"max_steps": 60}, "evaluation": {"n_frames": 4}, "workers": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """What is melted, what the first set is made of, and what is met afterwards.

    Attributes
    ----------
    phases : reference and temperatures
    crystal, seed, other : cells of 108, 32 and 128 atoms
    name : of the other phase
    hold : its temperature, K
    every, at_once : steps between screened frames; most centres of one screening
    """

    phases: Phases
    crystal: Callable[[], Atoms]
    seed: Callable[[], Atoms]
    other: Callable[[], Atoms]
    name: str
    hold: float = 300.0
    every: int = 5
    at_once: int = 2


CHAINS = {
    "Cu": Chain(
        SYSTEMS["Cu"],
        lambda: copper(3, a=3.7),
        lambda: copper(2),
        lambda: bulk("Cu", "bcc", a=2.88, cubic=True) * 4,
        "bcc",
    ),
    "Ni3Al": Chain(
        SYSTEMS["Ni3Al"],
        lambda: nickel_aluminide(3, a=3.68),
        lambda: nickel_aluminide(2),
        d03,
        "D0₃",
        every=20,
        at_once=4,
    ),
}


def segment(chain: Chain, *stages: tuple[float, int]) -> dict[str, Any]:
    """Holds at temperatures, K, for so many steps."""
    return {
        "sampler": {"name": "langevin", "timestep": 2.0, "friction": 0.02}, "check_interval": chain.every,
        "segment_steps": 100,
        "schedule": [{"kind": "hold", "temperature": temperature, "steps": steps} for temperature, steps in stages],
    }  # fmt: skip


def melt(chain: Chain, measure: str) -> dict[str, Any]:
    """The config of the first campaign."""
    phases = chain.phases
    return COMMON | {
        "campaign": f"melt-{measure}", "screen": {"max_centres": chain.at_once},
        "structure": "structure.xyz",
        "bootstrap": {
            "seeds": ["seed.xyz"], "n_structures": 24, "rattle": [0.02, 0.12], "strain": 0.03, "uncertainty": measure,
            "soap": {"r_cut": 3.2, "n_max": 5, "l_max": 5, "sigma": 0.3}, "force_field_settings": {"cutoff": 4.3},
        },
        "segment": segment(chain, (phases.cold, 60), (phases.melting, 200), (phases.hot, 200)),
    }  # fmt: skip


def other_phase(chain: Chain, measure: str, folder: Path) -> dict[str, Any]:
    """The config of the second."""
    return COMMON | {
        "campaign": f"other-{measure}",
        "screen": {"max_centres": chain.at_once},
        "structure": "structure.xyz",
        "bootstrap": {"campaign": str(folder)},
        "segment": segment(chain, (chain.hold, 150)),
    }


def run(config: dict[str, Any], folder: Path, structures: dict[str, Atoms]) -> Campaign:
    """Run a campaign in a folder, beside its structures, or go on with it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, atoms in structures.items():
        write(folder / f"{name}.xyz", atoms, format="extxyz")
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    out = folder / "out"
    if idealflow(["run", str(file), "--out", str(out), "--quiet"]):
        raise SystemExit(f"the campaign in {folder} failed")
    return Campaign.open(out)


def test_frames(chain: Chain) -> dict[str, list[Atoms]]:
    """Labelled frames of each phase that no campaign has met."""
    phases = chain.phases
    crystal, other = chain.crystal(), chain.other()
    liquid = phases.run(crystal, 1, phases.melting, seed=11, settle=300)[0]
    return {
        "crystal": phases.run(crystal, 3, phases.cold, seed=12, settle=100),
        "liquid": phases.run(liquid, 4, phases.hot, seed=13, settle=200),
        chain.name: [phases.label(rattled(other, 0.08, [seed, 3])) for seed in range(3)],
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
    parser.add_argument("--systems", nargs="+", default=list(CHAINS), choices=list(CHAINS))
    parser.add_argument("--measures", nargs="+", default=["soap", "mixture"])
    parser.add_argument("--folder", type=Path, help="where the campaigns lie; default: a temporary folder")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    for system in arguments.systems:
        chain = CHAINS[system]
        frames = test_frames(chain)
        for measure in arguments.measures:
            start = {"structure": chain.crystal(), "seed": chain.seed()}
            first = run(melt(chain, measure), folder / system / f"melt-{measure}", start)
            config = other_phase(chain, measure, folder / system / f"melt-{measure}" / "out")
            second = run(config, folder / system / f"other-{measure}", {"structure": chain.other()})
            row = {
                "labels": [len(each.substructures(state="accepted")) for each in (first, second)],
                "after_liquid": errors(first, frames), "after_other": errors(second, frames),
            }  # fmt: skip
            print(system, measure, row, flush=True)
            keep(arguments.out, **{f"{system}_{measure}": row})


if __name__ == "__main__":
    main()
