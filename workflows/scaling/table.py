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

mpl.use("Agg")
import matplotlib.pyplot as plt  # after the choice of backend

HERE = Path(__file__).parent


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
    parser.add_argument("--figure", type=Path, default=HERE / "scaling.png")
    arguments = parser.parse_args()
    frames, substructures = read(arguments.frames), read(arguments.substructures)

    print("| atoms | core-seconds, whole frame at Γ |\n|---|---|")
    for entry in frames:
        print(f"| {entry['n_atoms']} | {entry['core_seconds']:.1f} |")
    law = frames_law(arguments.frames)
    print("\n| fitted to | sizes | exponent |\n|---|---|---|")
    for smallest in (0, 50, SMALLEST):
        one = frames_law(arguments.frames, smallest)
        name = f"{smallest} atoms and more" if smallest else "all sizes"
        print(f"| {name} | {one.n_points} | {one.exponent:.2f} ± {one.exponent_error:.2f} |")

    print(f"\nt_entire by the fit to {SMALLEST} atoms and more")
    largest = max(entry["n_atoms"] for entry in frames)
    mean = float(np.mean([entry["label_core_s"] for entry in substructures]))
    columns = ("frame", "substructure", "screen, s", "crop + relax, s", "t_sub, core-s", "t_entire, core-s", "R_AL")
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for entry in substructures:
        n = entry["n_atoms"]
        how = "within the fit" if SMALLEST <= n <= largest else "extrapolated"
        spread = np.exp(law.relative_error(n))
        print(
            f"| {n} | {entry['n_sub']} atoms | {entry['screen_s']:.1f} | {entry['crop_s'] + entry['relax_s']:.1f} "
            f"| {entry['label_core_s']:.0f} | {law(n):.2g} ×/÷ {spread:.2f} ({how}) "
            f"| {law(n) / (entry['label_core_s'] * arguments.L):.2g} |"
        )
    print(f"\nmean t_sub {mean:.0f} core-seconds; R_AL = t_entire / (t_sub·L) with L = {arguments.L:g}")
    figure(frames, law, substructures, arguments.figure)
    print(f"\nfigure: {arguments.figure.name}")


if __name__ == "__main__":
    main()
