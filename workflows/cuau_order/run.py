"""Copper and gold lose their order: an alloy is heated by Monte Carlo with swaps, and learned on the way; and what came of it.

    python workflows/cuau_order/run.py quick|paper [--folder DIR] [--parts ...]

Runs the campaign of `quick/` or `paper/` in a folder, or goes on with it, and measures it; what was measured is kept in
`results/quick.json` or `results/paper.json`, from which the page docs/systems/cuau-order.md is made. EMT stands in for DFT.
"""

from __future__ import annotations

from pathlib import Path

from workbench import melting, ordering
from workbench.system_runs import chain_of, keep_measures, keep_reports, read_arguments

HERE = Path(__file__).parent
ALLOY = {"element": "CuAu", "crystal": "L1_0", "a": 3.85}
PARTS = ("ancestry", "course", "labels", "errors", "ladder")
#: frames that the reference labels; cells along each edge, temperatures (K) and trials at each in the ladder
SIZES = {
    "quick": (20, 3, (100, 150, 200, 250, 300, 400, 600, 800), 2500),
    "paper": (200, 4, (*range(100, 401, 50), 500, 600, 800), 20000),
}


def main() -> None:
    arguments = read_arguments(HERE, "CuAu: order lost by Monte Carlo.", SIZES, PARTS, ["reports"])
    n_frames, repeat, temperatures, trials = SIZES[arguments.size]
    folder = arguments.folder
    chain = chain_of(HERE, arguments, ["order"])
    measured = {
        "ancestry": lambda: {"ancestry": melting.ancestry(chain, folder)},
        "course": lambda: {"course": ordering.course(chain)},
        "labels": lambda: {"labels": ordering.labels(chain)},
        "errors": lambda: {"errors": ordering.errors(chain, folder, n_frames, parts=4)},
        "ladder": lambda: {"ladder": ordering.ladder(chain, folder, ALLOY | {"repeat": repeat}, temperatures, trials)},
        "reports": lambda: keep_reports(chain, arguments),
    }
    keep_measures(arguments, measured)


if __name__ == "__main__":
    main()
