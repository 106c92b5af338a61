"""Alumina melts as a small cell, in bulk and as a particle, each with all that was learned before; and what came of it.

    python workflows/al2o3/run.py quick|mixture|gaussian|paper [--folder DIR] [--parts ...] [--no-run]

Runs the campaigns of `quick/`, `mixture/` (the same without the small cell before), `gaussian/` (and with the default
uncertainty) or `paper/` in a folder, or goes on with them, and measures them; what was measured is kept in `results`, from which
the page docs/systems/alumina.md is made. Matsui's model stands in for DFT (workbench/matsui.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from idealflow.structures import particle
from workbench import melting, oxides
from workbench.lattices import lattices
from workbench.system_runs import chain_of, keep_measures, keep_reports, read_arguments

HERE = Path(__file__).parent
CAMPAIGNS = ("cells", "bulk", "particle")
CORUNDUM = {"element": "Al2O3", "crystal": "corundum", "a": 4.682, "c": 13.110}
LIQUIDS = {"al2o3-bulk": 9000.0, "al2o3-particle": 3000.0}  # K
PARTS = ("ancestry", "course", "labels", "cells", "errors", "elsewhere", "lattices", "liquids", "detection")


class Size(NamedTuple):
    """Frames that the reference labels; atoms of the particle that no campaign meets; MD steps; the scan of temperatures."""

    frames: int
    other: int
    steps: int
    settle: int  # frames of 20 fs
    scanned: range
    rung: int  # steps at each temperature
    repeat: list[int]


QUICK = Size(20, 120, 1000, 20, range(2200, 4201, 200), 500, [2, 2, 1])
SIZES = {
    "quick": QUICK,
    "mixture": QUICK,  # without the small cell before
    "gaussian": QUICK,  # and with the default uncertainty
    "paper": Size(500, 481, 12000, 100, range(2200, 4201, 100), 3000, [3, 3, 3]),
}


def main() -> None:
    arguments = read_arguments(
        HERE, "Alumina: bulk at 9 000 K, then a particle at 3 000 K.", SIZES, PARTS, ["scan", "reports"]
    )
    size = SIZES[arguments.size]
    folder = arguments.folder
    chain = chain_of(HERE, arguments, [name for name in CAMPAIGNS if (HERE / arguments.size / f"{name}.yaml").exists()])
    lattice = {name: CORUNDUM[name] for name in ("a", "c")}
    other = particle("Al2O3", crystal="corundum", n_atoms=size.other, stoichiometric=False, seed=1, **lattice)
    liquid = (LIQUIDS, size.steps, size.settle)
    measured = {
        "ancestry": lambda: {"ancestry": melting.ancestry(chain, folder), "refusals": oxides.refusals(chain)},
        "course": lambda: {"course": melting.course(chain, oxides.displacements)},
        "labels": lambda: {"labels": melting.labels(chain)},
        "cells": lambda: {"cells": oxides.cells(chain)},
        "errors": lambda: {"errors": melting.errors(chain, folder, size.frames)},
        "elsewhere": lambda: {
            "elsewhere": oxides.elsewhere(chain, folder, other, 3000.0, size.steps, size.settle, size.frames)
        },
        "lattices": lambda: {"lattices": lattices(chain, {"corundum": CORUNDUM})},
        "liquids": lambda: oxides.liquids(chain, folder, *liquid),
        "detection": lambda: {"detection": oxides.detection(chain, folder, size.frames)},
        "scan": lambda: melting.scan(chain, folder, CORUNDUM, [size.repeat], 1, size.scanned, size.rung),
        "reports": lambda: keep_reports(chain, arguments),
    }
    keep_measures(arguments, measured)


if __name__ == "__main__":
    main()
