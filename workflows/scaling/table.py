"""Tables of label time against size, from the lines that frames.py and substructures.py wrote.

    python workflows/scaling/table.py [--L 1.0]

L is the mean number of substructures per labelled frame; the campaign in workflows/li_gpaw measures it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from workbench.power_law import SMALLEST, read
from workbench.scaling_tables import acceleration_table, exponents_table, sizes_table

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, default=HERE / "frames.jsonl")
    parser.add_argument("--substructures", type=Path, default=HERE / "substructures.jsonl")
    parser.add_argument("--L", type=float, default=1.0, help="substructures per labelled frame")
    arguments = parser.parse_args()
    frames, substructures = read(arguments.frames), read(arguments.substructures)

    mean = float(np.mean([entry["label_core_s"] for entry in substructures]))
    print(f"{sizes_table(frames)}\n\n{exponents_table(frames)}\n")
    print(f"t_entire by the fit to {SMALLEST} atoms and more\n")
    print(acceleration_table(frames, substructures, arguments.L))
    print(f"\nmean t_sub {mean:.0f} core-seconds; R_AL = t_entire / (t_sub·L) with L = {arguments.L:g}")


if __name__ == "__main__":
    main()
