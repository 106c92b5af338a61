"""Lithium with labels by GPAW, plane waves and PBE: its campaigns, and what came of them.

    python workflows/li_gpaw/run.py bulk|vacancy [--folder DIR] [--parts ...] [--no-run]

Runs the campaign of `li-gpaw.yaml` or `li-vacancy.yaml` in a folder, or goes on with it, and measures it; what was measured is
kept in `results/bulk.json` or `results/vacancy.json`, its summary and report beside it. One core and an hour for the vacancy,
an hour and a half for the bulk; `make gpaw` installs GPAW.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from ase.build import bulk
from ase.calculators.calculator import kptdensity2monkhorstpack

from idealflow.provenance import CampaignChain
from workbench import melting
from workbench.k_points import of_one_cell
from workbench.melting import chain_so_far, run_chain
from workbench.system_runs import keep_measures, keep_reports, read_arguments

HERE = Path(__file__).parent
PARTS = ("ancestry", "labels", "errors", "points", "reports")
CONFIGS = {"bulk": "li-gpaw", "vacancy": "li-vacancy"}
N_FRAMES = 3  # of the run, labelled whole: minutes each
SUBSTRUCTURE = (3, 3, 3)  # cells of two atoms in a cube of as many atoms as a substructure has
CONVERGED = (12, 12, 12)  # k-points of such a cell


def ancestry(chain: CampaignChain, folder: Path) -> melting.Rows:
    """As of any chain; its labels run in the processes of a pool, whose time is not in that of the script, and is added."""
    rows = melting.ancestry(chain, folder)
    return [row | {"cpu_s": row["cpu_s"] + row["label_core_s"]} for row in rows]


def points(chain: CampaignChain, size: str) -> melting.Rows:
    """Energy of the perfect crystal, meV/atom, by the k-points of what a campaign labels, less that by many k-points."""
    from gpaw import GPAW  # it is no dependency: `make gpaw`

    config = yaml.safe_load((HERE / f"{CONFIGS[size]}.yaml").read_text())
    settings, a = config["label"]["labeller"]["kwargs"], config["structure"]["a"]
    cell = bulk("Li", "bcc", a=a, cubic=True)

    def energy(repeat: Sequence[int], grid: Sequence[int]) -> float:
        cell.calc = GPAW(**settings | {"kpts": of_one_cell(repeat, grid)})
        return 1000.0 * float(cell.get_potential_energy()) / len(cell)

    first = chain[0].labels(origin="bootstrap")[0]
    blocks = {
        "whole frame": config["structure"]["repeat"],
        "size of a substructure": SUBSTRUCTURE,
        "first set": [round(length / a) for length in np.linalg.norm(first.structure.cell, axis=1)],
    }
    converged, rows = energy((1, 1, 1), CONVERGED), []
    for name, repeat in blocks.items():
        block = cell.repeat(repeat)
        grid = [int(n) for n in kptdensity2monkhorstpack(block, settings["kpts"]["density"], even=False)]
        rows.append({"cell": name, "n_atoms": len(block), "grid": grid, "off_meV": energy(repeat, grid) - converged})
    return rows


def main() -> None:
    arguments = read_arguments(HERE, "Lithium by GPAW.", CONFIGS, PARTS)
    name, folder = CONFIGS[arguments.size], arguments.folder
    chain = chain_so_far([folder / name]) if arguments.no_run else run_chain([HERE / f"{name}.yaml"], folder)
    measured = {
        "ancestry": lambda: {"ancestry": ancestry(chain, folder)},
        "labels": lambda: {"labels": melting.labels(chain)},
        "errors": lambda: {"errors": melting.errors(chain, folder, N_FRAMES)},
        "points": lambda: {"points": points(chain, arguments.size)},
        "reports": lambda: keep_reports(chain, arguments),
    }
    keep_measures(arguments, measured)


if __name__ == "__main__":
    main()
