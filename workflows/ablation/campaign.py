"""How known shells become in a campaign of default settings.

    python workflows/ablation/campaign.py [--systems cu ni3al ...] [--seed 0] [--max-centres 4] [--out ablation] [--asap]

The ablation screens few frames of a run, for its cells are learned many times; a campaign screens every tenth step. Here the
run of ablate.py is screened as a campaign does it: frame by frame, ten steps apart, a few centres at a time; their
substructures join the distribution, and the frame is screened again until nothing in it is new. Nothing is labelled, and the
reference moves the atoms. For every substructure the figures of substructures.py, before and after the relaxation. Writes
OUT/campaign-SYSTEM-SEED.json; prints the shells in the parts of each run, and a table of all systems.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from idealflow.core import Schedule, UncertaintyModel, embed, screen
from idealflow.workflow import MDSegmentMaker, UncertaintyScreenMaker
from workbench.ablation_tables import Rows, campaign_table, parts_table, read_rows
from workbench.arms import crops_around, first_distribution, substructure_figures
from workbench.systems import SYSTEMS, System
from workbench.threads import one_thread

INTERVAL = MDSegmentMaker().check_interval  # steps between screened frames
MAX_CENTRES = UncertaintyScreenMaker().max_centres  # of one screening


def campaign(
    system: System, u: UncertaintyModel, frames: list[Atoms], seed: int, max_centres: int = MAX_CENTRES
) -> Rows:
    """Figures of the crop and of the substructure of every centre, in the order in which they are met; `u` learns them."""
    rows: Rows = {"crop": [], "substructure": []}
    threshold = u.auto_threshold()
    for index, frame in enumerate(frames):
        while len(centres := screen(u, frame, threshold, max_centres=max_centres)):
            cells = [substructure(system, u, frame, int(atom), seed, rows) for atom in centres]
            for found in rows.values():
                for one in found[-len(centres) :]:
                    one |= {"step": frame.info["step"], "temperature": float(frame.info["temperature"])}
            u.update(cells)
            u.cover(frame, centres)
        if (index + 1) % 20 == 0:
            met = [one["shell_mean"] for one in rows["substructure"]]
            shells = f", shells {np.median(met):.2f} ({np.quantile(met, 0.9):.2f})" if met else ""
            print(f"  step {(index + 1) * INTERVAL}: {len(met)} centres{shells}", flush=True)
    return rows


def substructure(system: System, u: UncertaintyModel, frame: Atoms, atom: int, seed: int, rows: Rows) -> Atoms:
    """The substructure around one centre; its figures and those of the crop it was go to `rows`."""
    there = float(u(frame, [atom])[0])
    started = time.process_time()
    crops = crops_around(system, u, frame, atom, seed)
    searched = time.process_time()
    best = embed(u, crops)[0]
    crop, relaxed, spent = best.crop, best.relaxed, time.process_time() - started
    rows["crop"].append(substructure_figures(crops[0], crops[0].values, crops[0].atoms, there, searched - started, ""))
    rows["substructure"].append(substructure_figures(crop, relaxed.values, relaxed.atoms, there, spent, relaxed.reason))
    return relaxed.atoms


def save(rows: Rows, path: Path) -> None:
    """Write the figures in columns, floats to five digits: a melt has a thousand centres."""
    columns = {
        name: {
            key: [float(f"{one[key]:.5g}") if isinstance(one[key], float) else one[key] for one in found]
            for key in (found[0] if found else ())
        }
        for name, found in rows.items()
    }
    path.write_text(json.dumps(columns, separators=(",", ":")) + "\n")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-centres", type=int, default=MAX_CENTRES, help="at most so many before all join")
    parser.add_argument("--out", type=Path, default=Path("ablation"))
    parser.add_argument("--asap", action="store_true", help="move the metals by ASAP's EMT, as ablate.py's option")
    args = parser.parse_args()
    one_thread()
    args.out.mkdir(parents=True, exist_ok=True)
    runs: dict[str, Rows] = {}
    for name in args.systems:
        system = SYSTEMS[name]
        print(f"{system.title} ({system.reference}), seed {args.seed}", flush=True)
        frames = replace(system, n_frames=Schedule(list(system.stages)).n_steps // INTERVAL).run(args.seed, args.asap)
        u = first_distribution(system, system.known(np.random.default_rng(args.seed)))
        path = args.out / f"campaign-{name}-{args.seed}.json"
        save(campaign(system, u, frames, args.seed, args.max_centres), path)
        rows = read_rows(path)
        if rows["substructure"]:
            runs[name] = rows
            print(f"\n{parts_table(rows)}\n", flush=True)
        else:
            print("  nothing in this run was new to the model", flush=True)
    if runs:
        print(campaign_table(runs))


if __name__ == "__main__":
    main()
