"""Tables and figures of the polycrystal that melts, from what `workflows/li_polycrystal/run.py` kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import melting_tables as of_melting
from workbench.grains import DEPTHS
from workbench.legends import stacked
from workbench.markdown import markdown, thousands

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parents[1] / "li_polycrystal" / "results"


@cache
def kept(size: str) -> dict[str, Any]:
    """What was measured at a size, by its parts."""
    found: dict[str, Any] = json.loads((RESULTS / f"{size}.json").read_text())
    return found


def depth_names() -> list[str]:
    """What the ranges of depths are called."""
    names = [f"{low:.0f} to {high:.0f} Å deep" for low, high in pairwise(DEPTHS)]
    return [*names[:-1], f"deeper than {DEPTHS[-2]:.0f} Å"]


def course_figure(size: str) -> Figure:
    """Temperature, crystal by depth, and novelty with labels, against time."""
    figure, axes = stacked(3, (7.0, 6.0), sharex=True)
    rows, counted = kept(size)["course"], axes[2].twinx()
    times = [row["time_ps"] for row in rows]
    axes[0].plot(times, [row["temperature"] for row in rows], color="C3", lw=1)
    axes[1].plot(times, [row["crystal"] for row in rows], color="k", lw=1.6, label="all atoms")
    for number, name in enumerate(depth_names()):
        axes[1].plot(times, [row[f"depth_{number}"] for row in rows], color=f"C{number}", lw=1, label=name)
    axes[2].semilogy(times, [row["ratio"] for row in rows], ".", color="C1", ms=3)
    axes[2].axhline(1.0, color="grey", lw=0.8)
    at = [row["time_ps"] for row in kept(size)["labels"]]
    counted.step([0, *at, times[-1]], [*range(len(at) + 1), len(at)], "k", where="post", lw=1)
    counted.set_ylabel("labels (black)")
    axes[0].set(ylabel="temperature, K")
    axes[1].set(ylabel="share of atoms in bcc", ylim=(-0.03, 1.05))
    axes[1].legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
    axes[2].set(ylabel="highest u/τ", xlabel="time, ps")
    return figure


def slices_figure(size: str) -> Figure:
    """A layer of the polycrystal at first and at last: atoms in bcc, in none, and those around which cells were labelled."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.7), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    marks = (("crystal", "#9fb4cc", "bcc"), ("other", "#c8502d", "not bcc"), ("labelled", "k", "labelled"))
    for axis, row in zip(axes, kept(size)["slices"], strict=True):
        points = {name: np.array(row[name], dtype=float).reshape(-1, 2) / 10.0 for name, _, _ in marks}
        edge = max(float(each.max()) for each in points.values() if len(each))
        area = (0.2 / edge * 290) ** 2  # atoms 2 Å wide, of a panel 290 points wide
        for name, colour, said in marks:
            axis.scatter(*points[name].T, s=max(area, 14.0 * (name == "labelled")), color=colour, linewidths=0)
            axis.scatter([], [], s=20, color=colour, label=said)
        title = f"step {thousands(row['step'])}, {row['time_fs'] / 1000:.1f} ps"
        axis.set(xlabel="x, nm", ylabel="y, nm", aspect="equal", title=title)
    axes[1].legend(frameon=True, fontsize=8, loc="upper right")
    return figure


def rdf_figure(size: str) -> Figure:
    """Radial distribution functions at the end of the run."""
    figure, (axes,) = stacked(1, (5.0, 3.2))
    rows = kept(size)["rdf"]
    radii = [row["r"] for row in rows]
    axes.plot(radii, [row["reference"] for row in rows], color="k", lw=2.5, alpha=0.35, label="reference")
    axes.plot(radii, [row["last"] for row in rows], color="C3", lw=1, label="last model")
    axes.set(xlabel="r, Å", ylabel="g(r)", xlim=(1.5, 8.0))
    axes.legend(frameon=False)
    return figure


def curves_figure(size: str) -> Figure:
    """Radial distribution functions of the run: at rest, while it melts, and at the end."""
    figure, (axes,) = stacked(1, (5.0, 3.2))
    rows = kept(size)["curves"]
    radii = [row["r"] for row in rows]
    for name, colour, said in (
        ("rest", "C0", "at rest, 100 K"), ("melting", "C1", "the first 0.5 ps at 600 K"), ("end", "C3", "at the end"),
    ):  # fmt: skip
        axes.plot(radii, [row[name] for row in rows], color=colour, lw=1.2, label=said)
    axes.set(xlabel="r, Å", ylabel="g(r)", xlim=(1.5, 8.0))
    axes.legend(frameon=False)
    return figure


def front_figure(size: str) -> Figure:
    """Share of atoms in bcc by depth below the boundaries, against time, of the run below the limit of superheating."""
    figure, (axes,) = stacked(1, (6.5, 3.4))
    rows, (perfect,) = kept(size)["front"], kept(size)["front_perfect"]
    times = [row["time_ps"] for row in rows]
    axes.plot(times, [row["crystal"] for row in rows], color="k", lw=1.6, label="all atoms")
    for number, name in enumerate(depth_names()):
        axes.plot(times, [row[f"depth_{number}"] for row in rows], color=f"C{number}", lw=1, label=name)
    axes.axhline(
        perfect["crystal"], color="grey", lw=0.8, ls="--", label=f"perfect crystal, {perfect['temperature']:.0f} K"
    )
    warm = axes.twinx()
    warm.plot(times, [row["target"] for row in rows], color="grey", lw=0.8, ls=":")
    warm.set_ylabel("temperature, K (dotted)")
    axes.set(xlabel="time, ps", ylabel="share of atoms in bcc", ylim=(-0.03, 1.05))
    axes.legend(frameon=False, fontsize=8, loc="center right")
    return figure


def layers_figure(size: str) -> Figure:
    """A layer of the polycrystal at three times of that run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.0), layout="constrained")
    for axis, row in zip(figure.subplots(1, 3, sharey=True), kept(size)["front_layers"], strict=True):
        for name, colour in (("crystal", "#9fb4cc"), ("other", "#c8502d")):
            axis.scatter(*(np.array(row[name], dtype=float).reshape(-1, 2) / 10.0).T, s=22, color=colour, linewidths=0)
        axis.set(
            xlabel="x, nm", ylabel="y, nm", aspect="equal", title=f"{row['time_ps']:.1f} ps, {row['target']:.0f} K"
        )
    return figure


def value(part: str, name: str, size: str) -> str:
    """A number: of the first row of a part, `ancestry n_own_labels`; or where the share of crystal began and ended."""
    if part == "crystal":
        shares = [row["crystal"] for row in kept(size)["course"]]
        return f"{100 * {'most': max(shares), 'end': float(np.mean(shares[-3:]))}[name]:.0f}"
    found = kept(size)[part][0][name]
    if found is None:
        return "–"
    return thousands(round(found)) if abs(found) >= 10 else f"{found:.3f}"


def reduced(size: str) -> str:
    """The reduced M3GNet beside the campaign's last model: energy with its sign, in brackets the absolute error."""
    names = {"last": "last model", "reduced": "M3GNet 2 × 32, from scratch"}
    rows = [
        [
            names[row["model"]], f"{row['energy_bias']:+.2f} ({row['energy_mae']:.2f})", f"{row['force_mae']:.1f}",
        ]
        for row in kept(size)["reduced"]
    ]  # fmt: skip
    return markdown(["", "energy, meV/atom", "forces, meV/Å"], rows)


def middle(size: str) -> str:
    """Force errors of the first and the last model in the middle of a frame that is too large for the reference."""
    rows = [
        [f"{row['model']} model", thousands(row["n_atoms"]), f"{row['force_mae']:.1f}", f"{row['force_rms']:.0f}"]
        for row in kept(size)["middle"]
    ]
    return markdown(["", "atoms", "error of the forces, meV/Å", "root mean square of the forces"], rows)


TABLES: dict[str, Callable[[str], str]] = {
    "chain": lambda size: of_melting.chain(kept(size)["ancestry"]),
    "errors": lambda size: of_melting.errors(kept(size)["errors"]),
    "reduced": reduced,
    "middle": middle,
    "liquid": lambda size: of_melting.liquid_runs(kept(size)["liquid"]),
}
FIGURES: dict[str, Callable[[str], Figure]] = {
    "course": course_figure,
    "rdf": rdf_figure,
    "curves": curves_figure,
    "front": front_figure,
    "layers": layers_figure,
    "slices": slices_figure,
}
