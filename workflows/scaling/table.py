"""Table and figure of label time against size, from the lines that frames.py and substructures.py wrote.

    python workflows/scaling/table.py [--L 1.0]

L is the mean number of substructures per labelled frame; the campaign in workflows/li_gpaw measures it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

from workbench.power_law import SMALLEST, PowerLaw, frames_law, read
from workbench.scaling_tables import acceleration_table, exponents_table, sizes_table

mpl.use("Agg")
import matplotlib.pyplot as plt  # after the choice of backend

HERE = Path(__file__).resolve().parent


def figure(frames: list[dict], law: PowerLaw, substructures: list[dict], path: Path) -> None:
    """Whole frames, their fit and its extrapolation, and substructures."""
    fig, axes = plt.subplots(figsize=(5.2, 3.8), layout="constrained")
    measured = np.array([[entry["n_atoms"], entry["core_seconds"]] for entry in frames])
    largest = measured[:, 0].max()
    inside, beyond = np.geomspace(SMALLEST, largest, 20), np.geomspace(largest, 1e6, 20)
    axes.loglog(*measured.T, "o", color="C0", label="whole frame, measured")
    axes.loglog(inside, [law(n) for n in inside], "-", color="C0", label=f"fit, N^{law.exponent:.2f}")
    axes.loglog(beyond, [law(n) for n in beyond], ":", color="C0", label="extrapolated")
    small = np.array([[entry["n_atoms"], entry["label_core_s"]] for entry in substructures])
    axes.loglog(*small.T, "s", color="C3", label="substructure, measured")
    axes.set(xlabel="atoms in the frame", ylabel="core-seconds of a label")
    axes.legend(frameon=False, fontsize=8)
    fig.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, default=HERE / "frames.jsonl")
    parser.add_argument("--substructures", type=Path, default=HERE / "substructures.jsonl")
    parser.add_argument("--L", type=float, default=1.0, help="substructures per labelled frame")
    parser.add_argument("--figure", type=Path, default=HERE.parents[1] / "docs" / "explanation" / "scaling.png")
    arguments = parser.parse_args()
    frames, substructures = read(arguments.frames), read(arguments.substructures)

    law = frames_law(frames)
    mean = float(np.mean([entry["label_core_s"] for entry in substructures]))
    print(f"{sizes_table(frames)}\n\n{exponents_table(frames)}\n")
    print(f"t_entire by the fit to {SMALLEST} atoms and more\n")
    print(acceleration_table(frames, substructures, arguments.L))
    print(f"\nmean t_sub {mean:.0f} core-seconds; R_AL = t_entire / (t_sub·L) with L = {arguments.L:g}")
    figure(frames, law, substructures, arguments.figure)
    print(f"\nfigure: {arguments.figure.name}")


if __name__ == "__main__":
    main()
