"""Tables of what benchmarks/surfaces.py kept: cells of surfaces and boundaries, before and now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from workbench.markdown import digits, markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def seconds(name: str = "substructure_times") -> str:
    """Processor seconds of a substructure, before and now: medians, and of the ratios; all cells, and those of some 100 atoms."""
    rows = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
    chosen = {
        "all": rows,
        "80 to 120 atoms, both": [r for r in rows if all(80 <= r[v]["n_atoms"] <= 120 for v in ("before", "now"))],
    }
    lines = []
    for title, group in chosen.items():
        for version in ("before", "now"):
            each = [row[version] for row in group]
            whole = [one["search_s"] + one["relax_s"] for one in each]
            ratios = [
                (row["before"]["search_s"] + row["before"]["relax_s"])
                / (row["now"]["search_s"] + row["now"]["relax_s"])
                for row in group
            ]
            ratio = "" if version == "before" else f"{np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
            spread = [f"{np.median(v):.2f} ({np.quantile(v, 0.9):.2f})" for v in (
                [one["search_s"] for one in each], [one["relax_s"] for one in each], whole,
                [one["shell"] for one in each], [one["core"] for one in each],
            )]  # fmt: skip
            counts = [f"{np.median([one[key] for one in each]):.0f}" for key in ("n_atoms", "n_cells", "n_steps")]
            lines.append([f"{title}: {len(group)}" if version == "before" else "", version, *counts, *spread, ratio])
    heads = [
        "centres",
        "",
        "atoms",
        "cells relaxed",
        "evaluations",
        "search, s",
        "relaxation, s",
        "both, s",
        "shell",
        "core",
    ]
    return markdown([*heads, "times as fast"], lines)


PAINT = {"Ir": "#6f7f95", "N": "#2f6fd0", "H": "#f4f4f4"}
#: of the covalent radius, so that rims are seen between neighbours
DRAWN_RADIUS = 0.75


def cells_figure(name: str = "surface_cells") -> Figure:
    """Five cells of the particle in gas along their shortest edge; the core has dark rims, the centre a red one."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    cells = json.loads((RESULTS / f"{name}.json").read_text())["cells"]
    figure = Figure(figsize=(3.0 * len(cells), 3.6), layout="constrained")
    for axis, kept in zip(np.atleast_1d(figure.subplots(1, len(cells))), cells, strict=True):
        atoms = Atoms(kept["symbols"], kept["positions"], cell=kept["cell"], pbc=True)
        edges = atoms.cell.array
        # seen along the edge that is shortest, the longest of the others to the right
        away = int(np.argmin(atoms.cell.lengths()))
        right = max((k for k in range(3) if k != away), key=lambda k: atoms.cell.lengths()[k])
        depth = edges[away] / np.linalg.norm(edges[away])
        x = edges[right] - (edges[right] @ depth) * depth
        x /= np.linalg.norm(x)
        frame = np.stack([x, np.cross(depth, x), depth])
        seen, core = atoms.positions @ frame.T, set(kept["core"])
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], dtype=float)
        across = next(k for k in range(3) if k not in (away, right))
        outline = (corners[:, :1] * edges[right] + corners[:, 1:] * edges[across]) @ frame.T
        axis.plot(outline[:, 0], outline[:, 1], color="0.4", lw=0.8)
        for row in np.argsort(seen[:, 2]):
            rim, width = ("C3", 2.0) if row == kept["centre"] else ("k", 1.0) if int(row) in core else ("0.6", 0.4)
            radius = DRAWN_RADIUS * covalent_radii[atoms.numbers[row]]
            look = {"facecolor": PAINT[atoms.symbols[row]], "edgecolor": rim, "linewidth": width}
            axis.add_patch(Circle((seen[row, 0], seen[row, 1]), radius, **look))
        axis.set(aspect="equal", xticks=[], yticks=[], ylabel=kept["group"])
        axis.set_xlabel(f"{len(atoms)} atoms, shell {kept['shell']:.2f}, core {kept['core_worsening']:.2f}")
        axis.autoscale_view()
        for side in axis.spines.values():
            side.set_visible(False)
    return figure


def share(percent: float | None) -> str:
    """A share, or a dash where there was nothing of the kind."""
    return "–" if percent is None else f"{percent:.0f} %"
