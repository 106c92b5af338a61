"""Copper and gold lose their order: an alloy is heated by Monte Carlo with swaps, and learned on the way; and what came of it.

    python workflows/cuau_order/run.py quick|paper [--folder DIR] [--parts ...]

Runs the campaign of `quick/` or `paper/` in a folder, or goes on with it, and measures it; what was measured is kept in
`results/quick.json` or `results/paper.json`, from which the page docs/systems/cuau-order.md is made. EMT stands in for DFT.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from workbench import melting, ordering
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

HERE = Path(__file__).parent
ALLOY = {"element": "CuAu", "crystal": "L1_0", "a": 3.85}
PARTS = ("ancestry", "course", "labels", "errors", "ladder")
#: frames that the reference labels; cells along each edge, temperatures (K) and trials at each in the ladder
SIZES = {
    "quick": (20, 3, (100, 150, 200, 250, 300, 400, 600, 800), 2500),
    "paper": (200, 4, (*range(100, 401, 25), 500, 600, 800), 40000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="CuAu: order lost by Monte Carlo.")
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--folder", type=Path, help="where the campaign lies; default: cuau-order-SIZE, here")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    n_frames, repeat, temperatures, trials = SIZES[arguments.size]
    folder = (arguments.folder or Path(f"cuau-order-{arguments.size}")).absolute()
    out = arguments.out or HERE / "results" / f"{arguments.size}.json"
    chain = melting.run_chain([HERE / arguments.size / "order.yaml"], folder)
    measured = {
        "ancestry": lambda: melting.ancestry(chain, folder),
        "course": lambda: ordering.course(chain),
        "labels": lambda: ordering.labels(chain),
        "errors": lambda: ordering.errors(chain, folder, n_frames, parts=4),
        "ladder": lambda: ordering.ladder(chain, folder, ALLOY | {"repeat": repeat}, temperatures, trials),
    }
    for part in arguments.parts:
        print(part, flush=True)
        keep(out, **{part: measured[part]()})


if __name__ == "__main__":
    main()
