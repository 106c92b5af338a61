"""Pictures of events drawn at random, to be looked at: whether they are what their names say.

    python workflows/haber_bosch/sheets.py --folder DIR --campaigns dissolved nitrogen production --sheets DIR [--each 8]

For each kind of event and each campaign a sheet with as many events as are asked for, or all of them; a line each, from 60 fs
before the event to 60 fs after. Beside each sheet a text with the distances between the event's atoms, and to the nearest
iridium, at these times (Å). What was seen so is kept by hand under ``looked_at`` in `results/paper.json`.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.provenance import CampaignChain
from workbench import ammonia_events
from workbench.ammonia_tables import moments_figure
from workbench.melting import chain_so_far

SHIFTS = (-60.0, -30.0, 0.0, 30.0, 60.0)  # fs
KINDS = (*ammonia_events.DRAWN, "NH3 leaves the metal")
NEAR = 2.2  # Å up to which distances are told


def told(frame: Atoms, atoms: list[int]) -> str:
    """Distances between atoms as far as they are near, and from each to the nearest atom of the metal, Å."""
    metal = np.flatnonzero(frame.symbols == ammonia_events.METAL)
    parts = []
    for i, j in combinations(atoms, 2):
        length = frame.get_distance(i, j, mic=True)
        if length < NEAR:
            parts.append(f"{frame.symbols[i]}{i}-{frame.symbols[j]}{j} {length:.2f}")
    parts += [f"{frame.symbols[i]}{i}..Ir {frame.get_distances(i, metal, mic=True).min():.2f}" for i in atoms]
    return ", ".join(parts)


def sheet(chain: CampaignChain, rows: list[dict[str, Any]], file: Path) -> None:
    """A line of pictures for each event, and the distances beside it."""
    lines, texts = [], []
    for number, row in enumerate(rows):
        change = f"{' + '.join(row['reactants'])} → {' + '.join(row['products'])}"
        seen = ammonia_events.moments(chain, row, SHIFTS)
        lines.append((f"{number}: {row['time_fs']:.0f} fs\n{change}", seen))
        texts.append(f"{number}: {row['time_fs']:.0f} fs, {change}, lasted {row['lasted_fs']:.0f} fs")
        campaign = next(one for one in chain if one.name == row["campaign"])
        frames = campaign.trajectory()
        at = {float(atoms.info["time_fs"]): place for place, atoms in enumerate(frames)}
        for moment in seen:
            frame = frames[at[moment["time_fs"]]]
            texts.append(f"   {moment['time_fs'] - row['time_fs']:+4.0f}  {told(frame, row['atoms'])}")
    moments_figure(lines).savefig(file, dpi=60)
    file.with_suffix(".txt").write_text("\n".join(texts) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures of events drawn at random.")
    parser.add_argument("--folder", type=Path, required=True, help="where the campaigns lie")
    parser.add_argument("--campaigns", nargs="+", required=True, help="their folders there, in order")
    parser.add_argument("--sheets", type=Path, required=True, help="where pictures go")
    parser.add_argument("--each", type=int, default=8, help="events of a kind from a campaign; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    arguments = parser.parse_args()
    chain = chain_so_far([arguments.folder / name for name in arguments.campaigns])
    found = ammonia_events.events(chain)
    arguments.sheets.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(arguments.seed)
    for kind in arguments.kinds:
        for campaign in chain:
            rows = [row for row in found if kind in row["kinds"] and row["campaign"] == campaign.name]
            if arguments.each and len(rows) > arguments.each:
                rows = [rows[i] for i in sorted(rng.choice(len(rows), arguments.each, replace=False))]
            if rows:
                sheet(chain, rows, arguments.sheets / f"{campaign.name}-{kind.replace(' ', '-')}.png")


if __name__ == "__main__":
    main()
