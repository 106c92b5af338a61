"""Tables and figures of the alloy that loses its order, from what `workflows/cuau_order/run.py` kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.legends import SOURCES, stacked
from workbench.markdown import markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parents[1] / "cuau_order" / "results"
STYLES = {
    "reference": {"color": "k", "marker": "o", "ls": "-"},
    "last": {"color": "C3", "marker": "x", "ls": "--"},
    "first": {"color": "C0", "marker": "+", "ls": ":"},
}


@cache
def kept(size: str) -> dict[str, Any]:
    """What was measured at a size, by its parts."""
    found: dict[str, Any] = json.loads((RESULTS / f"{size}.json").read_text())
    return found


def errors(size: str) -> str:
    """Errors of the first and the last model along the run: energy with its sign and absolute, meV/atom; forces, meV/Å."""
    heads = [
        "part of the run",
        "mean T, K",
        "mean order α",
        "frames",
        "first model",
        "last model",
        "size of the forces",
    ]
    by: dict[int, dict[str, Any]] = {}
    for row in kept(size)["errors"]:
        by.setdefault(row["part"], {})[row["model"]] = row
    rows = []
    for part, models in by.items():
        row = models["first"]
        cells = [
            f"{models[name]['energy_bias']:+.2f} ({models[name]['energy_mae']:.2f}), {models[name]['force_mae']:.1f}"
            for name in ("first", "last")
        ]
        about = [f"{part + 1} of {len(by)}", f"{row['temperature']:.0f}", f"{row['order']:.2f}", str(row["n_frames"])]
        rows.append([*about, *cells, f"{row['force_rms']:.0f}"])
    return markdown(heads, rows)


def ladder(size: str) -> str:
    """Order along temperatures, and what a model's energy is off on frames of its own run, meV/atom."""
    by: dict[float, dict[str, Any]] = {}
    for row in kept(size)["ladder"]:
        by.setdefault(row["temperature"], {})[row["by"]] = row
    rows = []
    gone = [name for name in SOURCES if any(row["by"] == name for row in kept(size)["ladder"])]
    for temperature, found in by.items():
        orders = [f"{found[name]['order']:.3f} ± {found[name]['order_error']:.3f}" for name in gone]
        apart = [f"{found[name]['off']:+.1f}" for name in ("first", "last")]
        rows.append([f"{temperature:.0f}", *orders, *apart])
    heads = ["T, K", *(f"α, {SOURCES[name]}" for name in gone), "first model off by", "last model off by"]
    return markdown(heads, rows)


def course_figure(size: str) -> Figure:
    """Order, energy, and novelty with labels, along the trials."""
    figure, axes = stacked(3, (7.0, 5.5), sharex=True)
    rows = kept(size)["course"]
    steps, warm = [row["step"] for row in rows], axes[0].twinx()
    axes[0].plot(steps, [row["order"] for row in rows], color="C3", lw=1.2)
    warm.plot(steps, [row["temperature"] for row in rows], color="grey", lw=0.8, ls="--")
    warm.set_ylabel("temperature, K (grey)")
    axes[1].plot(steps, [row["energy"] for row in rows], color="C0", lw=1)
    axes[2].semilogy(steps, [row["ratio"] for row in rows], ".", color="C1", ms=3)
    axes[2].axhline(1.0, color="grey", lw=0.8)
    counted, at = axes[2].twinx(), [row["step"] for row in kept(size)["labels"]]
    counted.step([0, *at, steps[-1]], [*range(len(at) + 1), len(at)], "k", where="post", lw=1)
    counted.set_ylabel("labels (black)")
    axes[0].set(ylabel="order α")
    axes[1].set(ylabel="energy, meV/atom")
    axes[2].set(ylabel="highest u/τ", xlabel="trials")
    return figure


def ladder_figure(size: str) -> Figure:
    """Order against temperature."""
    figure, (axes,) = stacked(1, (5.5, 3.4))
    for by, style in STYLES.items():
        rows = [row for row in kept(size)["ladder"] if row["by"] == by]
        if not rows:
            continue
        axes.errorbar(
            [row["temperature"] for row in rows],
            [row["order"] for row in rows],
            yerr=[row["order_error"] for row in rows],
            label=SOURCES[by],
            lw=1,
            ms=5,
            **style,
        )
    axes.set(xlabel="temperature, K", ylabel="order α")
    axes.legend(frameon=False)
    return figure


TABLES: dict[str, Callable[..., str]] = {"errors": errors, "ladder": ladder}
FIGURES: dict[str, Callable[..., Figure]] = {"course": course_figure, "ladder": ladder_figure}


def value(part: str, name: str, size: str) -> str:
    """A number of the campaign: `ancestry/n_own_labels`."""
    found = kept(size)[part][0][name]
    return f"{found:.0f}" if isinstance(found, float) else str(found)
