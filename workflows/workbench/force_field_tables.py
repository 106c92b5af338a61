"""Tables of what force fields cost and how well they learn, from what the benchmarks kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from workbench.floor_tables import HEADS, cells, rows_and_floors
from workbench.markdown import digits, markdown, thousands
from workbench.measured_tables import WORKFLOWS, kept

RESULTS = WORKFLOWS / "benchmarks" / "results"
NAMES = {
    "local": "built-in",
    "m3gnet-small": "M3GNet 2 × 32",
    "mace": "MACE, 64 channels",
    "chgnet": "CHGNet, from its weights",
    "sevennet": "SevenNet-0, as it is",
}
SYSTEMS = {"si": "Si", "cu": "Cu", "ni3al": "Ni₃Al", "ir-gas": "Ir₃₈ in gas"}


def _rows_of(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def md_speed() -> str:
    """Dynamics of copper, µs per atom and step."""
    heads = [
        "atoms",
        "neighbours",
        "built-in",
        *HEADS,
        "as array operations",
        "times as fast",
        "LAMMPS' EAM",
        "times EAM",
        "on one thread only",
        "two threads: processor time",
        "two threads: gain",
    ]
    rows = [
        [
            thousands(row["n_atoms"]),
            f"{row['neighbours']:.0f}",
            f"{row['fused_us']:.1f}",
            *cells(floor),
            f"{row['arrays_us']:.1f}",
            f"{row['ratio_arrays']:.1f}",
            f"{row['lammps_eam_us']:.2f}",
            f"{row['ratio_lammps']:.1f}",
            f"{100 * row['serial_share']:.0f} %",
            "× {:.2f} ({:.2f} to {:.2f})".format(*row["processor_two_over_one"]),
            f"{2.0 / (1.0 + row['serial_share']) / row['processor_two_over_one'][0]:.2f}",
        ]
        for row, floor in rows_and_floors("md")
    ]
    return markdown(heads, rows)


def force_fields() -> str:
    """Errors by training time of each force field on one labelled set."""
    stored = kept("benchmarks", "force_fields")
    heads = ["", "steps", "training, s", "crystal, meV/atom", "crystal, meV/Å", "liquid, meV/atom", "liquid, meV/Å"]
    rows = [["the mean energy, no force", "", "", *_four(stored["mean"])]]
    for name, title in NAMES.items():
        fits = stored[name]["fits"]
        rows.extend([title, str(fit["steps"]), f"{fit['fit_s']:.0f}", *_four(fit["errors"])] for fit in fits)
    return markdown(heads, rows)


def _four(errors: dict[str, list[float]]) -> Iterator[str]:
    for part in ("crystal", "liquid"):
        yield f"{errors[part][0]:.2f}"
        yield f"{errors[part][1]:.1f}"


def drifts() -> str:
    """Time per atom, and drift of the energy without a thermostat."""
    stored = kept("benchmarks", "force_fields")
    heads = ["", "µs per atom and step", "drift, µeV/atom/ps", "scatter, µeV/atom"]
    rows = [
        [
            title,
            f"{moved['us_per_atom']:.0f}",
            f"{1e3 * moved['drift_meV_per_ps']:.2f}",
            f"{1e3 * moved['scatter_meV']:.1f}",
        ]
        for name, title in NAMES.items()
        for moved in [stored[name]["nve"]]
    ]
    return markdown(heads, rows)


def kit_costs() -> str:
    """What a process costs that starts with a force field, and the conformance kit (benchmarks/force_field_kit.py)."""
    stored = kept("benchmarks", "force_field_kit")
    rows = [
        [title, f"{row['start_s']:.1f}", f"{row['kit_s']:.0f}" if "kit_s" in row else ""]
        for name, title in {**NAMES, "m3gnet": "M3GNet 4 × 128"}.items()
        if (row := stored.get(name)) is not None
    ]
    return markdown(["", "start, s", "kit, s"], rows)


def short_campaigns() -> str:
    """A short campaign with each force field."""
    heads = ["", "processor time, s", "labels on the way", "meV/atom", "meV/Å"]
    rows = [
        [
            NAMES[row["force_field"]],
            f"{row['cpu_s']:.0f}",
            str(row["n_labels"]),
            f"{row['energy_meV_per_atom']:.1f}",
            f"{row['force_meV_per_A']:.0f}",
        ]
        for row in _rows_of("message_passing_campaign")
    ]
    return markdown(heads, rows)


def parts_of_frames() -> str:
    """Frames in parts and whole."""
    heads = ["atoms", "in parts, s", "whole, s", "ratio", "largest difference of forces, eV/Å", "memory, GB"]
    rows = [
        [
            thousands(row["n_atoms"]),
            f"{row['parts_s']:.2f}",
            *((f"{row['whole_s']:.2f}", f"{row['ratio']:.2f}") if "whole_s" in row else ("", "")),
            f"{row['force_difference']:.0e}" if "force_difference" in row else "",
            f"{row['peak_GB']:.1f}",
        ]
        for row in _rows_of("message_passing_parts")
    ]
    return markdown(heads, rows)


def learning_before() -> str:
    """What updates and consolidations cost, and what updates cost in the version before them (`learning_before.py`)."""
    kept_rows: dict[str, dict[str, float]] = json.loads((RESULTS / "learning_before.json").read_text())
    rows = [
        [SYSTEMS[name], f"{row['before_s']:.0f}", f"{row['now_s']:.0f}", f"{row['ratio']:.1f}"]
        for name, row in kept_rows.items()
    ]
    return markdown(["", "before, s", "now, s", "times"], rows)


def learning_seeds() -> str:
    """Where consolidations begin, how long they are, and where the energy guard ends: means over seeds (`learning_seeds.py`)."""
    stored: list[dict[str, Any]] = json.loads((RESULTS / "learning_seeds.json").read_text())["rows"]
    heads = [
        "",
        "",
        "seeds",
        "crystal, energy",
        "over its best",
        "forces",
        "liquid, energy",
        "forces",
        "refused attempts",
        "not learned",
    ]
    rows = []
    stored.sort(key=lambda row: list(SYSTEMS).index(row["system"]))
    for system, way in dict.fromkeys((row["system"], row["way"]) for row in stored):
        mine = [row for row in stored if (row["system"], row["way"]) == (system, way)]
        ends = [[row["errors"][part][n] for row in mine] for part in ("crystal", "liquid") for n in (0, 1)]
        # a fit from scratch has no course, and nothing that could be refused
        best = [row["errors"]["crystal"][0] / row["crystal best"] for row in mine if "crystal best" in row]
        told = [
            _range(values, digits) for values, digits in zip((ends[0], best, *ends[1:]), (2, 1, 1, 2, 1), strict=True)
        ]
        counts = [
            _range([row[key] for row in mine if key in row], 0) for key in ("refused attempts", "rejected updates")
        ]
        rows.append([SYSTEMS[system], way, str(len(mine)), *told, *counts])
    return markdown(heads, rows)


def learning_demo() -> str:
    """The demo by where consolidations begin, what they cost, and the floor of the energy guard (`learning_seeds.py --demo`)."""
    stored: dict[str, dict[str, Any]] = json.loads((RESULTS / "learning_seeds.json").read_text())["demo"]
    heads = [
        "consolidations begin with",
        "steps, share",
        "floor, meV/atom",
        "labels",
        "updates refused",
        "consolidations kept",
        "discarded",
    ]
    heads += ["crystal at 300 K", "heating", "liquid at 2 200 K"]
    rows = []
    for row in stored.values():
        counts = ("n_substructures", "n_rejected_updates", "n_consolidations", "n_discarded_consolidations")
        errors = [f"{energy:.2f} \\| {forces:.1f}" for energy, forces in row["errors"]]
        start = {"present": "present ones", "consolidated": "consolidated weights"}[row["consolidation_start"]]
        cost = f"{thousands(row['consolidation_steps'])}, {row['consolidation_share']:g}"
        floor = f"{1e3 * row['energy_reject_floor']:g}" if row["energy_reject_floor"] else "none"
        rows.append([start, cost, floor, *(str(row[key]) for key in counts), *errors])
    return markdown(heads, rows)


def _range(values: list[float], digits: int) -> str:
    """Mean, and in brackets least and largest; a dash for none."""
    if not values:
        return "–"
    return f"{sum(values) / len(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def core_radius() -> str:
    """Campaigns with cores of two sizes (ablation/core_radius.py)."""
    heads = ["core, Å", "cells", "labels", "atoms a label", "first model", "last model", "last, hot half", "CPU, s"]
    arms = {"cutoff": "small", "cutoff, large cells": "large", "reach": "large"}
    stored = kept("ablation", "core_radius")["campaigns"]
    rows = [
        [
            f"{row['core_A']:.1f}",
            arms[row["arm"]],
            str(row["labels"]),
            f"{row['atoms_a_label']:.0f}",
            *(f"{row[name][0]:.2f} \\| {row[name][1]:.1f}" for name in ("first", "last", "last_hot")),
            f"{row['cpu_s']:.0f}",
        ]
        for row in sorted(stored, key=lambda row: (list(arms).index(row["arm"]), row["seed"]))
    ]
    return markdown(heads, rows)


def core_radius_ratio(what: str) -> str:
    """How many times as much the large core has of something as the small one: ``atoms`` labelled, ``forces`` off, ``time``."""
    small, large = (
        next(row for row in kept("ablation", "core_radius")["campaigns"] if row["arm"] == arm and row["seed"] == 0)
        for arm in ("cutoff", "reach")
    )
    figures = {
        "atoms": [row["labels"] * row["atoms_a_label"] for row in (small, large)],
        "forces": [row["last"][1] for row in (small, large)],
        "time": [row["cpu_s"] for row in (small, large)],
    }[what]
    return digits(figures[1] / figures[0], 2)
