"""Tables of the ablation, in Markdown, from the files that its scripts wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from workbench.systems import SYSTEMS

PART = 500  # steps of a row of `parts_table`
STRETCHES = 5
SHOWN = (
    "shell_mean", "shell_over_frame", "core_worsening", "n_atoms", "composition_error", "volume_error", "search_s", "relax_s",
)  # fmt: skip

#: figures of one substructure each, by what was done to the cells
Rows = dict[str, list[dict[str, Any]]]


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


def shell_table(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown table of the medians, 90th percentiles and worst cases."""
    lines = [
        "| | shell, median | 90 % | over the frame's, median | 90 % | worst atom, median | core, worst | centre changed by "
        "| atoms | composition error | volume error | s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in rows.items():
        of = {key: np.array([one[key] for one in found]) for key in found[0] if key != "note"}
        lines.append(
            f"| {name} | {np.median(of['shell_mean']):.2f} | {np.quantile(of['shell_mean'], 0.9):.2f} "
            f"| {np.median(of['shell_over_frame']):.2f} | {np.quantile(of['shell_over_frame'], 0.9):.2f} "
            f"| {np.median(of['shell_max']):.0f} | {of['core_worsening'].max():.2f} | {of['centre_change'].max():.0e} "
            f"| {of['n_atoms'].mean():.0f} | {of['composition_error'].mean():.3f} "
            f"| {of['volume_error'].mean():.3f} | {of['seconds'].mean():.2f} |"
        )
    return "\n".join(lines)


def read_rows(path: Path) -> Rows:
    """The figures that campaign.py wrote."""
    return {
        name: [dict(zip(columns, one, strict=True)) for one in zip(*columns.values(), strict=True)]
        for name, columns in json.loads(path.read_text()).items()
    }


def campaign_table(runs: dict[str, Rows]) -> str:
    """Markdown table of the systems, before and after the relaxation."""
    rows = {
        f"{SYSTEMS[name].title}: {len(found)} {part}s": found
        for name, run in runs.items()
        for part, found in run.items()
    }
    return shell_table(rows)


def parts_table(rows: Rows) -> str:
    """Markdown table of the relaxed shells in equal parts of the run; parts without centres are left out."""
    lines = ["| steps | temperature, K | centres | shell, median | 90 % |", "|---|---|---|---|---|"]
    steps = np.array([one["step"] for one in rows["substructure"]])
    for first in range(0, int(steps.max()), PART):
        inside = np.flatnonzero((steps > first) & (steps <= first + PART))
        if len(inside):
            part = [rows["substructure"][k] for k in inside]
            shells, kelvins = ([one[key] for one in part] for key in ("shell_mean", "temperature"))
            lines.append(
                f"| {first}–{first + PART} | {min(kelvins):.0f}–{max(kelvins):.0f} | {len(part)} "
                f"| {np.median(shells):.2f} | {np.quantile(shells, 0.9):.2f} |"
            )
    return "\n".join(lines)
