"""Tables of the campaign on a million atoms (workflows/benchmarks/million_atoms.py)."""

from __future__ import annotations

from typing import Any

from idealflow.core.dynamics.trajectory import FORMATS
from workbench.markdown import digits, markdown, thousands
from workbench.measured_tables import kept

PARTS = {
    "step": "a step, forces included",
    "forces": "forces of a step, and of the first frame of a segment",
    "screen": "a screen of every atom",
    "choice": "choosing centres",
    "crop": "a crop search",
    "relax": "a relaxation",
    "save": "saving the MD state",
}


def million_parts() -> str:
    """What each part of the campaign takes, CPU seconds."""
    rows = []
    for row in kept("benchmarks", "million_atoms")["calls"]:
        if row["n"]:
            median, least, most = row["cpu_s"]
            spread = f"{digits(median, 2)} ({digits(least, 2)} to {digits(most, 2)})"
            rows.append([PARTS[row["what"]], str(row["n"]), spread, digits(row["s"], 2)])
    return markdown(["", "calls", "CPU seconds, median (least to most)", "seconds by the clock, median"], rows)


def million_rounds() -> str:
    """What the rounds did, how long they took by the clock, and the files that each left, MB."""
    names = {"end_state": "MD state", "trajectory": "trajectory", "screened": "screen", "model": "model"}
    rows = []
    for row in kept("benchmarks", "million_atoms")["rounds"]:
        files = [digits(row["files_mb"][name], 2) if name in row["files_mb"] else "" for name in names]
        first, last = row["steps"]
        done = [str(row["round"]), f"{first} to {last}", str(row["triggering"]), str(row["labels"])]
        rows.append([*done, digits(row["seconds"], 2), *files])
    heads = ["round", "steps", "atoms that trigger", "labels", "seconds by the clock"]
    return markdown([*heads, *(f"{name}, MB" for name in names.values())], rows)


def million_sizes() -> str:
    """What 20 ps of a million atoms take as a trajectory, in steps of 2 fs, by format and interval."""
    heads = ["`trajectory_format`", "a frame, MB", "every 10 steps, GB", "every 30 steps, GB"]
    rows = []
    for name, layout in FORMATS.items():
        size = layout.size(1_000_000)
        whole = [digits(size * 10_000 / interval / 1e9, 2) for interval in (10, 30)]
        rows.append([f"`{name}`", digits(size / 1e6, 2), *whole])
    return markdown(heads, rows)


def million(path: str) -> str:
    """A figure by its part and name: `campaign/n_atoms`."""
    found: Any = kept("benchmarks", "million_atoms")
    for name in path.split("/"):
        found = found[name]
    if isinstance(found, list):
        return str(len(found))
    return digits(found, 2) if isinstance(found, float) else thousands(found)


def million_figure(what: str) -> str:
    """Median CPU seconds of a part."""
    row = next(row for row in kept("benchmarks", "million_atoms")["calls"] if row["what"] == what)
    return digits(row["cpu_s"][0], 2)
