"""Tables of what benchmarks/surfaces.py kept: cells of surfaces and boundaries, before and now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from workbench.markdown import digits, markdown

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
NAMES = {
    ("gas-particle", "face"): "Ir particle in gas, faces",
    ("gas-particle", "edge"): "– edges",
    ("gas-particle", "vertex"): "– vertices",
    ("bare-particle", "face"): "bare Pt particle, faces",
    ("bare-particle", "edge"): "– edges",
    ("bare-particle", "vertex"): "– vertices",
    ("gas-slab", "face"): "Ir(111) with adsorbates, in gas",
    ("oxide-particle", "rim"): "Al₂O₃ particle",
    ("twist", "boundary"): "Ag twist boundary",
    ("tilt", "boundary"): "Ag tilt boundary",
}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a group: median and 90th percentile, and shares in percent."""
    lines = []
    for system, group in dict.fromkeys((row["system"], row["group"]) for row in rows):
        every = [row for row in rows if (row["system"], row["group"]) == (system, group)]
        met = [row for row in every if "refused" not in row]
        line: dict[str, Any] = {"system": system, "group": group, "centres": len(every), "cells": len(met)}
        for name in ("shell", "core", "n_atoms", "search_s", "relax_s") if met else ():
            values = [row[name] for row in met]
            line |= {name: float(np.median(values)), f"{name}_90": float(np.quantile(values, 0.9))}
        # a cell that was taken without the surface rule has lost its vacuum on one side at least
        empty = [row["vacuum"] and not row["waived"] for row in met if row["vacuum"] is not None]
        line["vacuum"] = 100.0 * float(np.mean(empty)) if empty else None
        for part in ("bonds", "adsorbed"):
            total = sum(row.get(part, 0) for row in met)
            line[part] = total
            line[f"{part}_kept"] = 100.0 * sum(row.get(f"{part}_kept", 0) for row in met) / total if total else None
        lines.append(line)
    return lines


def rows_of(name: str) -> list[dict[str, Any]]:
    """The rows of every system in a file of results."""
    parts = json.loads((RESULTS / f"{name}.json").read_text())
    return [row for part in parts.values() for row in part]


def surfaces(name: str = "surfaces") -> str:
    """Median (90 %) of shell and core over the frame's own, atoms, and what was kept, of every group."""
    heads = [
        "centres",
        "cells",
        "shell",
        "core",
        "atoms",
        "vacuum",
        "bonds whole",
        "adsorbates bound",
        "search, relaxation, s",
    ]
    lines = {(line["system"], line["group"]): line for line in summary(rows_of(name))}
    rows = []
    for key, title in NAMES.items():
        if (line := lines.get(key)) is None:
            continue
        rows.append(
            [
                title,
                f"{line['cells']} of {line['centres']}",
                *(f"{digits(line[part])} ({digits(line[f'{part}_90'])})" for part in ("shell", "core")),
                f"{line['n_atoms']:.0f} ({line['n_atoms_90']:.0f})",
                share(line["vacuum"]),
                share(line["bonds_kept"]),
                share(line["adsorbed_kept"]),
                f"{line['search_s']:.1f}, {line['relax_s']:.1f}",
            ]
        )
    return markdown(heads, rows)


def share(percent: float | None) -> str:
    """A share, or a dash where there was nothing of the kind."""
    return "–" if percent is None else f"{percent:.0f} %"
