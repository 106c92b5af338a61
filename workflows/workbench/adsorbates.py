"""Energies of the steps from nitrogen and hydrogen to ammonia on a particle, from averages over molecular dynamics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.optimize import FIRE
from scipy.spatial.transform import Rotation

from idealflow.core.dynamics import Checkpoint, MDState, SegmentFiles, Stage, Trajectory, get_sampler, md_segment
from idealflow.core.dynamics import Schedule as Plan
from idealflow.structures.gases import hollow_sites
from idealflow.workflow.drivers.comparing import label_frames
from idealflow.workflow.stages.evaluation import evenly
from workbench.melting import Rows

ADSORBED = ("N", "H", "NH", "NH2", "NH3")
GASES = ("N2", "H2", "NH3")
#: each step: what there is before and after, with how many of each; * is the bare particle
STEPS: dict[str, dict[str, int]] = {
    "N₂ + 2 * → 2 N*": {"N2": -1, "*": -2, "N*": 2},
    "H₂ + 2 * → 2 H*": {"H2": -1, "*": -2, "H*": 2},
    "N* + H* → NH* + *": {"N*": -1, "H*": -1, "NH*": 1, "*": 1},
    "NH* + H* → NH₂* + *": {"NH*": -1, "H*": -1, "NH2*": 1, "*": 1},
    "NH₂* + H* → NH₃* + *": {"NH2*": -1, "H*": -1, "NH3*": 1, "*": 1},
    "NH₃* → NH₃ + *": {"NH3*": -1, "NH3": 1, "*": 1},
    "N₂ + 3 H₂ → 2 NH₃": {"N2": -1, "H2": -3, "NH3": 2},
}


def adsorbed(body: Atoms, name: str) -> Atoms:
    """A particle with one atom or molecule on its first hollow site, nitrogen down, hydrogen away from the particle."""
    down = "N" if "N" in name else "H"
    site = hollow_sites(body, down)[0]
    one = Atoms(name) if name in ("N", "H") else molecule(name)
    anchor = int(np.flatnonzero(one.symbols == down)[0])
    one.positions -= one.positions[anchor]
    if len(one) > 1:
        axis = one.positions.sum(axis=0)
        out = site - body.positions.mean(axis=0)
        one.positions = Rotation.align_vectors([out / np.linalg.norm(out)], [axis / np.linalg.norm(axis)])[0].apply(
            one.positions
        )
    one.positions += site
    made = body.copy()
    made += Atoms(one.symbols, one.positions)
    return made


def structures(body: Atoms) -> dict[str, Atoms]:
    """The bare particle, the particle with each adsorbate, and each molecule alone."""
    made = {"*": body.copy()} | {f"{name}*": adsorbed(body, name) for name in ADSORBED}
    for name in GASES:
        one = molecule(name)
        made[name] = Atoms(one.symbols, one.positions)
        made[name].center(vacuum=8.0)
    return made


def averages(
    calculator: Calculator, label: Any, body: Atoms, temperature: float, steps: int, n_frames: int, folder: Path
) -> Rows:
    """Mean energies of each structure along dynamics by a learned force field, eV: by that, and by the label source.

    Both are of the same frames, drawn evenly from the second half of the run.
    """
    rows: Rows = []
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, atoms) in enumerate(structures(body).items()):
        atoms.calc = calculator
        FIRE(atoms, logfile=None).run(fmax=0.1, steps=60)
        file = folder / f"{name.replace('*', '-on')}.idf"
        md_segment(
            calculator,
            MDState.initial(atoms, temperature, seed=number),
            schedule=Plan([Stage("hold", temperature, steps=steps)]),
            sampler=get_sampler("langevin", timestep=0.5, friction=0.02),
            check_interval=20,
            files=SegmentFiles(trajectory=file, checkpoint=Checkpoint(file.with_suffix(".npz"))),
        )
        frames = list(Trajectory(file))
        half = frames[len(frames) // 2 :]
        drawn = [half[i] for i in evenly(n_frames, len(half))]
        labelled, _ = label_frames(label, drawn, folder / "labels")
        both = [
            (frame.info["energy"], right.get_potential_energy())
            for frame, right in zip(drawn, labelled, strict=True)
            if right is not None
        ]
        learned, reference = np.array(both).T
        rows.append(
            {
                "structure": name,
                "n_atoms": len(atoms),
                "n_frames": len(both),
                "learned": float(learned.mean()),
                "reference": float(reference.mean()),
                "spread": float(reference.std() / np.sqrt(len(both))),
                "off": float((learned - reference).mean()),
                "off_spread": float((learned - reference).std() / np.sqrt(len(both))),
                "formula": str(atoms.symbols),
            }
        )
    return rows


def reaction_energies(means: Rows, steps: Mapping[str, Mapping[str, int]] = STEPS) -> Rows:
    """Mean energy of what there is after a step less that before, eV, by both; and the standard errors of mean and difference."""
    by = {row["structure"]: row for row in means}
    rows: Rows = []
    for step, counts in steps.items():
        row: dict[str, Any] = {"step": step}
        row |= {who: sum(n * by[name][who] for name, n in counts.items()) for who in ("learned", "reference")}
        for error in ("spread", "off_spread"):
            row[error] = float(np.sqrt(sum((n * by[name][error]) ** 2 for name, n in counts.items())))
        rows.append(row)
    return rows
