"""Tables and figures of the ablation from the files that ablate.py wrote.

    python workflows/ablation/tables.py OUT [--map pca]

Prints Markdown: per system the errors of each arm on whole frames (mean over seeds, spread where there are several), their
ratios, and the core-force error; the energy errors over stretches of the run; what the substructures are; and the objectives of
the relaxation side by side. Writes OUT/errors.png and OUT/environments.png, the map of environments of the first seed of each
system (the paper's Figure 2f) whose frames and cells are there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from ablate import frames_of
from ase.io import read
from systems import SYSTEMS

from idealflow.analysis import map_environments
from idealflow.core import SOAP

COLOURS = {"frame": "#999999", "vacuum": "#c44e52", "crop": "#dd8452", "paper": "#8172b3", "ides": "#2a7f62"}
MAPPED = ("vacuum", "crop", "paper", "ides")
MOST_POINTS = 1500
STRETCHES = 5
SHOWN = (
    "shell_mean", "shell_over_frame", "core_worsening", "n_atoms", "composition_error", "volume_error", "search_s", "relax_s",
)  # fmt: skip


def errors_of(arm: dict[str, Any]) -> tuple[float, float]:
    """Mean absolute errors on the test frames, meV/atom and meV/Å."""
    energy, force = 1000.0 * np.mean(arm["errors"], axis=0)
    return float(energy), float(force)


def having(runs: list[dict[str, Any]], arm: str) -> list[dict[str, Any]]:
    """The runs that have an arm; the first of a system has all that are shown."""
    return [run for run in runs if arm in run["arms"]]


def title(runs: list[dict[str, Any]], arm: str) -> str:
    """An arm's name, with the number of its seeds where not all have it."""
    n = len(having(runs, arm))
    name = str(runs[0]["arms"][arm]["title"])
    return name if n == len(runs) else f"{name} ({n} seed{'s' if n > 1 else ''})"


def spread(values: list[float], digits: int) -> str:
    """Mean, and half the range where there are several."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {(max(values) - min(values)) / 2:.{digits}f}"


def error_table(runs: list[dict[str, Any]]) -> str:
    """Errors of every arm over the seeds of one system; ratios to ours and to whole frames."""
    lines = [
        "| arm | energy, meV/atom | over ours | force, meV/Å | over whole | core force, meV/Å | labelled atoms | converged |",
        "|---|---|---|---|---|---|---|---|",
        f"| first model | {spread([errors_of(r['start'])[0] for r in runs], 2)} | "
        f"{np.mean([errors_of(r['start'])[0] / errors_of(r['arms']['ides'])[0] for r in runs]):.1f} "
        f"| {spread([errors_of(r['start'])[1] for r in runs], 1)} | "
        f"{np.mean([errors_of(r['start'])[1] / errors_of(r['arms']['frame'])[1] for r in runs]):.2f} | – | – | – |",
    ]
    for name in runs[0]["arms"]:
        those = having(runs, name)
        arms = [run["arms"][name] for run in those]
        energies, forces = zip(*(errors_of(arm) for arm in arms), strict=True)
        over_ours = np.mean([e / errors_of(r["arms"]["ides"])[0] for e, r in zip(energies, those, strict=True)])
        over_whole = np.mean([f / errors_of(r["arms"]["frame"])[1] for f, r in zip(forces, those, strict=True)])
        core = [1000.0 * float(np.mean(arm["core_force_error"])) for arm in arms if "core_force_error" in arm]
        share = [
            arm["n_labelled_atoms"] / run["arms"]["frame"]["n_labelled_atoms"]
            for arm, run in zip(arms, those, strict=True)
        ]
        drifts = ", ".join(f"{arm['drift']:.3f}" for arm in arms)
        converged = "yes" if all(arm["converged"] for arm in arms) else f"drift {drifts}"
        lines.append(
            f"| {title(runs, name)} | {spread(list(energies), 2)} | {over_ours:.1f} | {spread(list(forces), 1)} "
            f"| {over_whole:.2f} | {spread(core, 1) if core else '0'} | {100 * np.mean(share):.0f} % "
            f"| {converged} |"
        )
    return "\n".join(lines)


def stretch_table(runs: list[dict[str, Any]]) -> str:
    """Energy errors over five stretches of the run, coldest first, meV/atom."""
    stretches = np.array_split(np.arange(runs[0]["n_test"]), STRETCHES)
    heat = np.array(runs[0]["temperatures"])
    lines = [
        "| arm | " + " | ".join(f"{heat[one[0]]:.0f}–{heat[one[-1]]:.0f} K" for one in stretches) + " |",
        "|---" * (STRETCHES + 1) + "|",
    ]
    for name in runs[0]["arms"]:
        energies = [1000.0 * np.array(run["arms"][name]["errors"])[:, 0] for run in having(runs, name)]
        means = (np.mean([one[part].mean() for one in energies]) for part in stretches)
        lines.append(f"| {title(runs, name)} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    return "\n".join(lines)


def structure_table(runs: list[dict[str, Any]]) -> str:
    """What the arms' structures are: shells, atoms, seconds. Volumes mean nothing beside empty space: 0 there."""
    lines = [
        "| arm | shell uncertainty, median (90 %) | over the frame's | core, worst | atoms | composition error | volume error "
        "| search + relaxation, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in runs[0]["arms"]:
        if name == "frame":
            continue
        of: dict[str, np.ndarray] = {
            key: np.concatenate([run["arms"][name][key] for run in having(runs, name)]) for key in SHOWN
        }
        lines.append(
            f"| {title(runs, name)} | {np.median(of['shell_mean']):.2f} ({np.quantile(of['shell_mean'], 0.9):.2f}) "
            f"| {np.median(of['shell_over_frame']):.2f} ({np.quantile(of['shell_over_frame'], 0.9):.2f}) "
            f"| {of['core_worsening'].max():.2f} | {of['n_atoms'].mean():.0f} | {of['composition_error'].mean():.3f} "
            f"| {100.0 * of['volume_error'].mean():+.1f} % "
            f"| {of['search_s'].mean():.2f} + {of['relax_s'].mean():.2f} |"
        )
    return "\n".join(lines)


#: objective of the relaxation of the arms that differ in nothing else
OBJECTIVES = {
    "ides": "`frame-hinge` (default)",
    "ides-one": "`hinge` (shell above 1)",
    "ides-mean": "`mean`, cell free",
}


def objective_table(systems: dict[str, list[dict[str, Any]]]) -> str:
    """Errors in energy and force of the arms that differ in the objective, seed by seed; a dash where one was not run."""
    heads = [
        f"{name} ({len(runs)} seeds)" if len(runs) > 1 else f"{name}, seed {runs[0]['seed']}"
        for name, runs in systems.items()
    ]
    lines = ["| objective | " + " | ".join(heads) + " |", "|---" * (len(systems) + 1) + "|"]
    for arm, label in OBJECTIVES.items():
        cells = [
            ", ".join(pair(run["arms"][arm]) if arm in run["arms"] else "–" for run in runs)
            for runs in systems.values()
        ]
        if set("".join(cells)) - set("–, "):
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def pair(arm: dict[str, Any]) -> str:
    """Errors in energy and force, meV/atom / meV/Å."""
    energy, force = errors_of(arm)
    return f"{energy:.2f} / {force:.1f}"


def read_runs(out: Path) -> tuple[dict[str, list[dict[str, Any]]], list[Path]]:
    """What ablate.py wrote in a folder, by system, and the files that lack an arm that others are compared with."""
    systems: dict[str, list[dict[str, Any]]] = {}
    lacking = []
    for name in SYSTEMS:
        for path in sorted(out.glob(f"{name}-[0-9].json")):
            run = json.loads(path.read_text())
            if {"ides", "frame"} <= set(run["arms"]):
                systems.setdefault(name, []).append(run)
            else:
                lacking.append(path)
    return systems, lacking


def report(runs: list[dict[str, Any]]) -> str:
    """What was run on one system, in a line, and its three tables."""
    first = runs[0]
    seeds = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
    centres = ", ".join(str(len(run["centres"])) for run in runs)
    labelled_frames = ", ".join(str(run["n_labelled_frames"]) for run in runs)
    screened = ", ".join(str(run["frames_gone_through"]) for run in runs)
    each = np.mean([len(run["centres"]) / run["n_labelled_frames"] for run in runs])
    about = (
        f"{first['n_atoms']} atoms; reference: {first['reference']}; {seeds}; {centres} centres in {labelled_frames} "
        f"of {screened} frames (L = {each:.2f}); {first['n_test']} test frames."
    )
    return "\n\n".join([about, error_table(runs), stretch_table(runs), structure_table(runs)])


def draw_errors(systems: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Bars of the arms' errors, one pair of panels for energies and forces."""
    figure, axes = plt.subplots(2, 1, figsize=(1.6 + 1.7 * len(systems), 5.6), sharex=True, constrained_layout=True)
    for place, runs in enumerate(systems.values()):
        shown = [name for name in COLOURS if name in runs[0]["arms"]]
        for k, name in enumerate(shown):
            pairs = np.array([errors_of(run["arms"][name]) for run in runs])
            for axis, values in zip(axes, pairs.T, strict=True):
                where = place + 0.8 * (k - (len(shown) - 1) / 2) / len(shown)
                axis.bar(
                    where, values.mean(), 0.8 / len(shown), color=COLOURS[name], label=name if place == 0 else None
                )
                axis.plot([where, where], [values.min(), values.max()], color="black", lw=1)
    for axis, label in zip(axes, ("energy error, meV/atom", "force error, meV/Å"), strict=True):
        axis.set_yscale("log")
        axis.set_ylabel(label)
    axes[0].legend(ncols=5, fontsize=8, loc="upper left", bbox_to_anchor=(0.0, 1.2), frameon=False)
    axes[1].set_xticks(range(len(systems)), list(systems))
    figure.savefig(path, dpi=150)
    plt.close(figure)


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
    draw_errors(systems, args.out / "errors.png")
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
