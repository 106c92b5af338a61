"""How known do shells become? Crops and relaxations of every system, from a model that knows only its small crystals.

    python workflows/ablation/substructures.py [--systems cu ...] [--seed 0] [--centres 24] [--out ablation]

The hardest case: no substructure has joined the distribution yet. Over centres of frames spread over a run of the reference
(the frames of ablate.py, made if they are not there), per method: shell uncertainty (1 = mean in distribution), its median
and 90th percentile over the centres, the largest of one shell atom, the worst core atom relative to its value in the frame,
the change of the centre's own uncertainty, atoms, composition error, and CPU seconds. Methods: what the paper does, the
objectives, more crops, random restarts of the shell at about the cost of the further crops, and wider cells. Prints a table
a system; writes OUT/substructures-SYSTEM-SEED.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.core import Crop, CropSearch, Objective, Relaxed, UncertaintyModel, crop_search, embed, relax_shell
from workbench.ablation_tables import shell_table
from workbench.arms import first_distribution, spread_centres, substructure_figures
from workbench.runs import frames_of
from workbench.systems import SYSTEMS, System
from workbench.threads import one_thread

KICKS, KICK, KICK_RADIUS, KICK_STEPS = 6, 0.5, 4.0, 100  # restarts; Å; Å; evaluations each
WIDER = 2.0  # Å

Outcome = tuple[Crop, Relaxed]
Method = Callable[[UncertaintyModel, CropSearch, CropSearch, np.random.Generator], Outcome]


def one_crop(objective: Objective, cell: bool, u: UncertaintyModel, crops: CropSearch, *_: Any) -> Outcome:
    """The best crop alone."""
    return crops[0], relax_shell(u, crops[0], cell=cell, objective=objective)


def several_crops(u: UncertaintyModel, crops: CropSearch, *_: Any) -> Outcome:
    """What the package does: up to three crops."""
    best = embed(u, crops)[0]
    return best.crop, best.relaxed


def wider_cell(u: UncertaintyModel, _: CropSearch, wide: CropSearch, __: np.random.Generator) -> Outcome:
    """The best crop of cells 2 Å wider."""
    return wide[0], relax_shell(u, wide[0])


def restarts(u: UncertaintyModel, crops: CropSearch, _: CropSearch, rng: np.random.Generator) -> Outcome:
    """The best crop, and then again and again with the shell kicked around one of its bad atoms."""
    crop, best = crops[0], relax_shell(u, crops[0])
    for _kick in range(KICKS):
        tried = relax_shell(u, kicked(u, crop, best, rng), max_steps=KICK_STEPS)
        if tried.core_worsening <= 2.0 and tried.shell_ratio < best.shell_ratio:
            best = tried
    return crop, best


def kicked(u: UncertaintyModel, crop: Crop, relaxed: Relaxed, rng: np.random.Generator) -> Crop:
    """The relaxed crop with the shell atoms near one bad atom displaced at random."""
    atoms = relaxed.atoms.copy()
    shell = np.flatnonzero(~relaxed.core)
    bad = rng.choice(shell, p=relaxed.values[shell] / relaxed.values[shell].sum())
    near = shell[atoms.get_distances(bad, shell, mic=True) < KICK_RADIUS]
    atoms.positions[near] += rng.normal(0.0, KICK, (len(near), 3))
    return replace(crop, atoms=atoms, values=u(atoms))


METHODS: dict[str, Method] = {
    "positions only, mean (the paper)": partial(one_crop, "mean", False),
    "cell too, mean": partial(one_crop, "mean", True),
    "cell too, log-hinge": partial(one_crop, "log-hinge", True),
    "cell too, hinge": partial(one_crop, "hinge", True),
    "cell too, frame-hinge": partial(one_crop, "frame-hinge", True),
    "the same, up to 3 crops (default)": several_crops,
    f"frame-hinge, {KICKS} random restarts": restarts,
    f"frame-hinge, cells {WIDER:g} Å wider": wider_cell,
}


def measure(
    system: System, u: UncertaintyModel, frames: list[Atoms], n: int, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Figures of every method for every centre."""
    rows: dict[str, list[dict[str, Any]]] = {"crop": [], **{name: [] for name in METHODS}}
    per_frame = 1 if system.kind == "bulk" else 4
    for index, atom in spread_centres(u, frames, n, per_frame):
        frame = frames[index]
        there = float(u(frame, [atom])[0])
        search = partial(
            crop_search,
            u,
            frame,
            atom,
            oxidation_states=system.oxidation_states,
            whole_if_small=False,
        )
        started = time.process_time()
        crops = search(rng=np.random.default_rng([seed, atom]), max_atoms=system.max_atoms)
        search_s = time.process_time() - started
        widths = (2.0 * u.cutoff + WIDER, 2.0 * u.cutoff + WIDER + 3.0)
        roomy = {"cell_widths": widths, "size_weight": 0.0, "max_atoms": 2 * system.max_atoms}
        wide = search(rng=np.random.default_rng([seed, atom]), **roomy)
        rows["crop"].append(substructure_figures(crops[0], crops[0].values, crops[0].atoms, there, search_s, ""))
        for name, method in METHODS.items():
            started = time.process_time()
            crop, relaxed = method(u, crops, wide, np.random.default_rng([seed, atom]))
            spent = time.process_time() - started
            rows[name].append(substructure_figures(crop, relaxed.values, relaxed.atoms, there, spent, relaxed.reason))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--centres", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("ablation"))
    parser.add_argument("--asap", action="store_true", help="move the metals by ASAP's EMT, as ablate.py's option")
    args = parser.parse_args()
    one_thread()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.systems:
        system = SYSTEMS[name]
        frames = frames_of(system, args.seed, args.out, args.asap)[::2]
        u = first_distribution(system, system.known(np.random.default_rng(args.seed)))
        rows = measure(system, u, frames, args.centres, args.seed)
        (args.out / f"substructures-{name}-{args.seed}.json").write_text(json.dumps(rows, indent=1) + "\n")
        print(
            f"\n{system.title} ({system.reference}), {len(rows['crop'])} centres, threshold {u.auto_threshold():.1f}\n"
        )
        print(shell_table(rows), flush=True)


if __name__ == "__main__":
    main()
