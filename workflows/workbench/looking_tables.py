"""Tables of looking at a campaign: its VASP inputs before it, the report of a large one, the live page of a running one."""

from __future__ import annotations

from typing import Any

from workbench.markdown import markdown
from workbench.measured_tables import kept


def report_page() -> str:
    """The report of a large campaign, by size and time."""
    found = kept("benchmarks", "report_page")
    row = found["page"] | found["opening"]
    rows = [
        ["size of the page", f"{row['size_mb']:.1f} MB", "", ""],
        ["writing it", f"{row['write_wall_s']:.0f} s", f"{row['write_cpu_s']:.0f} s", ""],
        ["until it is ready", f"{row['ready_s']:.1f} s", f"{row['ready_main_s']:.1f} s", f"{row['ready_all_s']:.1f} s"],
        ["a pick", *(f"{row[name]:.0f} ms" for name in ("pick_ms", "pick_main_ms", "pick_all_ms"))],
    ]
    return markdown(["", "wall time", "processor time", "with the drawing in software"], rows)


def watch_delay() -> str:
    """How soon a new round is told and drawn."""
    row = kept("benchmarks", "watch_delay")["delay"]
    heads = ["from the commit of a round until it is", "median", "longest", "within 2 s", "processor time of a round"]
    rows = []
    for what, part in (("told by the server", "server"), ("drawn on the page", "page")):
        within = f"{row[f'{part}_within']} of {row[f'{part}_rounds']}"
        times = [f"{row[f'{part}_s']:.2f} s", f"{row[f'{part}_most_s']:.1f} s"]
        rows.append([what, *times, within, f"{row[f'{part}_cpu_s']:.2f} s"])
    return markdown(heads, rows)


#: names of the systems by their folder of workflows
SYSTEMS = {"li_melting": "Li", "li_polycrystal": "Li polycrystal", "al2o3": "Al₂O₃", "haber_bosch": "Ir, N and H"}


def vasp_inputs() -> str:
    """What VASP would be given for each campaign of the paper's sizes."""
    by_campaign: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in kept("checks", "vasp_inputs")["inputs"]:
        by_campaign.setdefault((row["system"], row["campaign"]), []).append(row)
    rows = []
    for (system, campaign), found in by_campaign.items():
        cells = [row for row in found if row["structure"] != "first"]
        [first] = [row for row in found if row["structure"] == "first"]
        atoms = sorted(row["n_atoms"] for row in cells)
        spin = any(row["spin"] for row in cells)
        potcars = sorted({name for row in found for name in row["potcar"]})
        rows.append([
            SYSTEMS[system], campaign, first["kind"], f"{first['n_atoms']}; {grids([first])}",
            " to ".join(dict.fromkeys(map(str, (atoms[0], atoms[-1])))), grids(cells),
            "yes" if spin else "no", " ".join(potcars),
        ])  # fmt: skip
    heads = [
        "system",
        "campaign",
        "kind",
        "small structure: atoms; k points",
        "cells: atoms",
        "k points",
        "spin",
        "POTCAR",
    ]
    return markdown(heads, rows)


def grids(rows: list[dict[str, Any]]) -> str:
    """The grids of k points of some structures, each once."""
    return ", ".join(dict.fromkeys("×".join(map(str, row["k_points"])) for row in rows))
