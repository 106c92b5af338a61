"""Where consolidations begin, and where the guard of energies ends: ways of `learning.py`, by several seeds.

    python workflows/benchmarks/learning_seeds.py si cu ni3al [--seeds 0 1 2]
        [--out workflows/benchmarks/results/learning_seeds.json]

Errors at the end hang on the order in which batches are drawn, the small ones of a crystal's energy most of all. So each way is
gone with several seeds. Rows that are there are kept. Processor seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from learning import SYSTEMS, WAYS, data, first_model, run

from workbench.keeping import add_out, keep
from workbench.threads import one_thread

COMPARED = ("default", "from consolidated weights", "guard without a floor")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+", choices=list(SYSTEMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(COMPARED))
    parser.add_argument("--data", type=Path, default=Path("build/learning"))
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    rows = json.loads(arguments.out.read_text())["rows"] if arguments.out and arguments.out.exists() else []
    for name in arguments.systems:
        sets = data(name, arguments.data)
        start = first_model(sets)
        for seed in arguments.seeds:
            for way in arguments.ways:
                about = {"system": name, "way": way, "seed": seed}
                if any(about.items() <= row.items() for row in rows):
                    continue
                rows.append(about | run(start, sets, WAYS[way], seed))
                print(rows[-1], flush=True)
                keep(arguments.out, rows=rows)


if __name__ == "__main__":
    main()
