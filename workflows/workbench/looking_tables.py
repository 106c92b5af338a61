"""Tables of what looking at a campaign costs: the report of a large one, the live page of a running one."""

from __future__ import annotations

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
