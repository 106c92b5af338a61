"""How a melt moves into the grains of a polycrystal, below the temperature at which a perfect crystal melts by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.analysis import local_phases
from idealflow.core.dynamics import MDState, Stage
from idealflow.provenance import CampaignChain
from idealflow.workflow.frames.build import build_structure
from workbench.grains import at_rest, depths, layer, moved, parts_of
from workbench.melting import Rows, maker_of

#: steps between frames; frames of which the mean positions are looked at, and frames from one such mean to the next
INTERVAL, AVERAGED, APART = 20, 20, 10
GONE = (1.0, 0.5, 0.05)  # shares of the crystal at first that are left where a layer is drawn


def front(
    chain: CampaignChain, folder: Path, crystal: dict[str, Any], temperature: float, warming: int, steps: int
) -> dict[str, Rows]:
    """The polycrystal at rest, warmed up and held by the last model without learning: its crystal by depth, and three layers.

    What is looked at are positions averaged over 0.4 ps, without the thermal motion that hides a hot crystal. ``perfect`` is the
    share of a perfect crystal that is found in the same way at the temperature.
    """
    rest = at_rest(chain)
    begin = maker_of(chain[-1]).segment.plan().stages[0].temperature
    stages = [Stage("ramp", begin, to=temperature, steps=warming), Stage("hold", temperature, steps=steps)]
    start = MDState.initial(rest, temperature=None, seed=2)
    parts = parts_of(depths(rest))
    rows: Rows = []
    means = averaged(list(moved(chain, folder / "front", start, stages, INTERVAL, "positions"))[1:])
    for atoms in means:
        solid, time = local_phases(atoms) == "bcc", float(atoms.info["time_ps"])
        warm = begin + (temperature - begin) * min(1.0, 1000.0 * time / warming)
        about = {"time_ps": time, "target": warm, "crystal": float(solid.mean())}
        rows.append(about | {f"depth_{n}": float(solid[mine].mean()) for n, mine in enumerate(parts)})
    left = [row["crystal"] / rows[0]["crystal"] for row in rows]
    chosen = [next((n for n, share in enumerate(left) if share <= gone), len(rows) - 1) for gone in GONE]
    pictures = [{name: rows[n][name] for name in ("time_ps", "target")} | layer(means[n]) for n in chosen]
    return {"front": rows, "front_layers": pictures, "front_perfect": [perfect(chain, folder, crystal, temperature)]}


def perfect(chain: CampaignChain, folder: Path, crystal: dict[str, Any], temperature: float) -> dict[str, Any]:
    """The share of a perfect crystal that is found as such at a temperature, on average over its second half."""
    start = MDState.initial(build_structure(crystal), 2.0 * temperature, seed=2)
    frames = moved(
        chain, folder / "front-perfect", start, [Stage("hold", temperature, steps=4000)], INTERVAL, "positions"
    )
    found = [float((local_phases(atoms) == "bcc").mean()) for atoms in averaged(list(frames)[1:])]
    return {"n_atoms": len(frames[0]), "temperature": temperature, "crystal": float(np.mean(found[len(found) // 2 :]))}


def averaged(frames: Sequence[Atoms]) -> list[Atoms]:
    """Frames of mean positions, each of :data:`AVERAGED` frames in a row; ``time_ps`` of each is the mean of theirs."""
    found = []
    for first in range(0, len(frames) - AVERAGED + 1, APART):
        some = frames[first : first + AVERAGED]
        mean = some[0].copy()
        mean.positions = np.mean([atoms.positions for atoms in some], axis=0)
        mean.info = {"time_ps": float(np.mean([atoms.info["time"] for atoms in some])) / 1000.0}
        found.append(mean)
    return found
