"""Tables and figures of alumina, from what `workflows/al2o3/run.py` kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import melting_tables as of_melting
from workbench import scan_tables
from workbench.legends import SOURCES, stacked
from workbench.markdown import markdown, thousands

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parents[1] / "al2o3" / "results"
COLOURS = {"al2o3-cells": "C2", "al2o3-bulk": "C0", "al2o3-particle": "C1"}

WINDOWS = {"quick": 250, "paper": 5000}  # steps in which labels are counted


@cache
def kept(size: str) -> dict[str, Any]:
    """What was measured at a size, by its parts."""
    found: dict[str, Any] = json.loads((RESULTS / f"{size}.json").read_text())
    return found


def elsewhere(size: str) -> str:
    """Errors on a particle that no campaign has met: energy with its sign and absolute, meV/atom; forces, meV/Å."""
    heads = ["model", "frames", "mean T, K", "energy", "forces", "size of the forces"]
    rows = []
    for row in kept(size)["elsewhere"]:
        name = "first of the chain" if row["model"] == "first" else f"last of {row['model']}"
        rows.append([
            name, str(row["n_frames"]), f"{row['temperature']:.0f}", f"{row['energy_bias']:+.2f} ({row['energy_mae']:.2f})",
            f"{row['force_mae']:.1f}", f"{row['force_rms']:.0f}",
        ])  # fmt: skip
    return markdown(heads, rows)


def decline(size: str) -> str:
    """Labels in windows of steps, from the step on at which a campaign first asked for one."""
    window = WINDOWS[size]
    rows = []
    for row in kept(size)["ancestry"]:
        asked = [cell["step"] for cell in kept(size)["cells"] if cell["campaign"] == row["campaign"]]
        if not asked:
            rows.append([row["campaign"], "–", *["–"] * 8])
            continue
        first = min(asked)
        counts = [str(sum(first + k * window <= step < first + (k + 1) * window for step in asked)) for k in range(5)]
        lived = [first + k * window < row["n_steps"] for k in range(5)]
        counts = [count if alive else "" for count, alive in zip(counts, lived, strict=True)]
        ends = first + 5 * window
        counts.append(str(sum(step >= ends for step in asked)) if ends < row["n_steps"] else "")
        rate = 1000 * len(asked) / (row["n_steps"] - first)
        rows.append([row["campaign"], thousands(first), *counts, thousands(max(asked)), f"{rate:.1f}"])
    spans = [f"{k * window}–{(k + 1) * window}" for k in range(5)]
    return markdown(["", "first label at step", *spans, "later", "last label at step", "per 1 000 steps"], rows)


def cells(size: str) -> str:
    """Composition of the cells that were labelled."""
    heads = ["campaign", "cells", "atoms, median (least to most)", "share of Al", "neutral", "largest charge, e"]
    rows = []
    for campaign in COLOURS:
        mine = [row for row in kept(size)["cells"] if row["campaign"] == campaign]
        if not mine:
            continue
        atoms = [row["Al"] + row["O"] for row in mine]
        shares = [row["Al"] / (row["Al"] + row["O"]) for row in mine]
        spread = f"{min(shares):.3f} to {max(shares):.3f}"
        neutral = sum(row["charge"] == 0 for row in mine)
        rows.append([
            campaign, str(len(mine)), f"{np.median(atoms):.0f} ({min(atoms)} to {max(atoms)})", spread,
            f"{neutral} of {len(mine)}", str(max(abs(row["charge"]) for row in mine)),
        ])  # fmt: skip
    return markdown(heads, rows)


def liquids(size: str) -> str:
    """Both liquids by the last model and by the reference's own dynamics."""
    heads = ["", "by", "frames", "mean T, K", "energy, meV/atom", "diffusion of Al", "of O, 10⁻⁵ cm²/s"]
    rows = []
    for row in kept(size)["liquids"]:
        means = [f"{row[name]:.0f}" for name in ("temperature", "energy")]
        moved = [f"{1e5 * row[f'diffusion_{symbol}']:.1f}" for symbol in ("Al", "O")]
        rows.append([row["campaign"], SOURCES[row["by"]], str(row["n_frames"]), *means, *moved])
    return markdown(heads, rows)


def partials(size: str) -> str:
    """First peaks of the partial radial distribution functions, and how far both curves are apart."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in kept(size)["partials"]:
        found.setdefault((row["campaign"], row["pair"]), {})[row["by"]] = row
    rows = []
    for (campaign, pair), by in found.items():
        peaks = [f"{by[name]['peak_g']:.2f} at {by[name]['peak_r']:.2f} Å" for name in ("last", "reference")]
        rows.append([campaign, pair, *peaks, f"{by['last']['apart']:.3f}"])
    return markdown(["", "pair", "first peak, last model", "reference", "mean difference"], rows)


def detection(size: str) -> str:
    """Whether atoms that a model gets wrong stand out, by measure."""
    heads = [
        "frames of", "model at its", "measure", "usual force error, meV/Å", "wrong atoms", "area under the curve", "above τ",
        "wrong ones above τ", "error of the top fifth", "of the others",
    ]  # fmt: skip
    rows = []
    for row in kept(size)["detection"]:
        auc = "–" if row["auc"] is None else f"{row['auc']:.2f}"
        seen = "–" if row["wrong_above"] is None else f"{100 * row['wrong_above']:.1f} %"
        rows.append([
            row["campaign"], row["when"], row["measure"], f"{row['usual']:.0f}", f"{100 * row['wrong']:.1f} %", auc,
            f"{100 * row['above']:.2f} %", seen, f"{row['top_fifth']:.0f}", f"{row['others']:.0f}",
        ])  # fmt: skip
    return markdown(heads, rows)


def course_figure(size: str) -> Figure:
    """Temperature, novelty, displacement and labels on the time axis of the chain."""
    figure, axes = stacked(3, (7.0, 6.0), sharex=True)
    rows, counted = kept(size)["course"], axes[2].twinx()
    labelled = 0
    for campaign, colour in COLOURS.items():
        mine = [row for row in rows if row["campaign"] == campaign]
        if not mine:
            continue
        times = [row["time_ps"] for row in mine]
        axes[0].plot(times, [row["temperature"] for row in mine], color=colour, lw=1, label=campaign)
        axes[1].semilogy(times, [row["ratio"] for row in mine], ".", color=colour, ms=3)
        for symbol, style in (("Al", "-"), ("O", "--")):
            moved = [row[symbol] for row in mine]
            axes[2].plot(times, moved, color=colour, lw=1, ls=style)
        at = [row["time_ps"] for row in kept(size)["labels"] if row["campaign"] == campaign]
        counts = [labelled + n for n in range(len(at) + 1)]
        labelled += len(at)
        counted.step([times[0], *at, times[-1]], [*counts, labelled], "k", where="post", lw=1)
    counted.set_ylabel("labels (black)")
    counted.set_ylim(bottom=0)
    axes[1].axhline(1.0, color="grey", lw=0.8)
    axes[0].set(ylabel="temperature, K")
    ratios = [row["ratio"] for row in rows]
    decades = (min(0.1, *ratios) / 1.3, max(10.0, *ratios) * 1.3)  # in less than two of them minor ticks get numbers
    axes[1].set(ylabel="highest u/τ", ylim=decades)
    axes[2].set(ylabel="displacement², Å²:\nAl, O (dashed)", xlabel="time along the chain, ps")
    axes[0].legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def partials_figure(size: str) -> Figure:
    """Partial radial distribution functions of both liquids."""
    rows = kept(size)["partials"]
    campaigns = list(dict.fromkeys(row["campaign"] for row in rows))
    figure, axes = stacked(len(campaigns), (6.0, 3.2 * len(campaigns)), sharex=True)
    for axis, campaign in zip(axes, campaigns, strict=True):
        mine = [row for row in rows if row["campaign"] == campaign]
        for k, pair in enumerate(dict.fromkeys(row["pair"] for row in mine)):
            for row in (row for row in mine if row["pair"] == pair):
                right = row["by"] == "reference"
                look: dict[str, Any] = {"lw": 3.0, "alpha": 0.3} if right else {"lw": 1.0, "label": pair}
                axis.plot(row["r"], row["g"], color=f"C{k}", **look)
        axis.set(ylabel=f"g(r), {campaign}", xlim=(1.0, 7.0))
        axis.legend(frameon=False)
    axes[-1].set(xlabel="r, Å")
    return figure


TABLES: dict[str, Callable[..., str]] = {
    "chain": lambda size: of_melting.chain(kept(size)["ancestry"]),
    "errors": lambda size: of_melting.errors(kept(size)["errors"]),
    "jumps": lambda size: scan_tables.jumps(kept(size)["jumps"]),
    "elsewhere": elsewhere,
    "decline": decline,
    "cells": cells,
    "lattices": lambda size: of_melting.at_rest(kept(size)["lattices"]),
    "liquids": liquids,
    "partials": partials,
    "detection": detection,
}
FIGURES: dict[str, Callable[..., Figure]] = {
    "course": course_figure,
    "partials": partials_figure,
    "scan": lambda size: scan_tables.figure(kept(size)["ladder"]),
}
VALUES: dict[str, Callable[..., str]] = {
    "cpu-minutes": lambda size: f"{sum(row['cpu_s'] for row in kept(size)['ancestry']) / 60:.0f}",
}
