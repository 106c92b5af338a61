"""Tables and figures of the ablation from the files that ablate.py wrote.

    python workflows/ablation/tables.py OUT [--map pca]

Prints Markdown: per system the errors of each arm on whole frames (mean over seeds, spread where there are several), their
ratios, and the core-force error; the energy errors over stretches of the run; what the substructures are; and the objectives of
the relaxation side by side. Writes OUT/errors.png and OUT/environments.png, the map of environments of the first seed of each
system (the paper's Figure 2f) whose frames and cells are there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from ase.io import read

from idealflow.analysis import map_environments
from idealflow.core import SOAP
from workbench.ablation_figure import COLOURS, errors_figure
from workbench.ablation_tables import objective_table, read_runs, report
from workbench.runs import frames_of
from workbench.systems import SYSTEMS

MAPPED = ("vacuum", "crop", "paper", "ides")
MOST_POINTS = 1500


def draw_environments(systems: dict[str, list[dict[str, Any]]], out: Path, path: Path, method: str) -> None:
    """Map of the environments: those of whole frames in grey, those of the arms' cells in colour."""
    figure, axes = plt.subplots(
        len(systems), len(MAPPED), figsize=(11, 2.7 * len(systems)), squeeze=False, constrained_layout=True
    )
    for row, (name, runs) in zip(axes, systems.items(), strict=True):
        system, seed = SYSTEMS[name], runs[0]["seed"]
        soap = SOAP(species=list(system.species), **system.soap)
        rng = np.random.default_rng(0)
        sets = {"frame": vectors(soap, system.species[-1], frames_of(system, seed, out)[1::8], rng)}
        for arm in MAPPED:
            sets[arm] = vectors(soap, system.species[-1], list(read(out / f"{name}-{seed}-{arm}.extxyz", ":")), rng)
        points = map_environments(np.concatenate(list(sets.values())), method)
        parts = dict(zip(sets, np.split(points, np.cumsum([len(one) for one in sets.values()])[:-1]), strict=True))
        low, high = points.min(axis=0), points.max(axis=0)
        for axis, arm in zip(row, MAPPED, strict=True):
            axis.scatter(*parts["frame"].T, s=3, color="#bbbbbb", label="whole frames", rasterized=True)
            axis.scatter(*parts[arm].T, s=3, color=COLOURS[arm], label=arm, alpha=0.5, rasterized=True)
            axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], title=f"{name}: {arm}")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def drawn(out: Path, name: str, runs: list[dict[str, Any]]) -> list[Path]:
    """Files that a system's map is drawn from."""
    return [out / f"{name}-{runs[0]['seed']}-{part}.extxyz" for part in ("frames", *MAPPED)]


def vectors(soap: SOAP, symbol: str, cells: list[Any], rng: np.random.Generator) -> np.ndarray:
    """Descriptors of the atoms of one species, at most 1 500 of them."""
    found = np.concatenate([soap(cell)[cell.symbols == symbol] for cell in cells])
    return found[rng.permutation(len(found))[:MOST_POINTS]]


def main() -> None:
    """Read, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--map", default="pca", choices=["pca", "tsne"])
    args = parser.parse_args()
    systems, lacking = read_runs(args.out)
    for path in lacking:
        print(f"left out, for it lacks the arms that others are compared with (ides, frame): {path}")
    for runs in systems.values():
        print(f"\n### {runs[0]['title']}\n\n{report(runs)}")
    print(f"\n### Objectives: energy and force errors, meV/atom / meV/Å\n\n{objective_table(systems)}")
    errors_figure(systems).savefig(args.out / "errors.png", dpi=150)
    print(f"\nfigure: {args.out / 'errors.png'}")
    mapped = {
        name: runs for name, runs in systems.items() if all(path.exists() for path in drawn(args.out, name, runs))
    }
    for name in (each for each in systems if each not in mapped):
        print(f"no map of {name}: its frames and cells (ablate.py writes {name}-SEED-*.extxyz) are not in {args.out}")
    if mapped:
        draw_environments(mapped, args.out, args.out / "environments.png", args.map)
        print(f"figure: {args.out / 'environments.png'}")


if __name__ == "__main__":
    main()
