"""The picture of the ablation's errors, from what its scripts kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from workbench.ablation_tables import errors_of

COLOURS = {"frame": "#999999", "vacuum": "#c44e52", "crop": "#dd8452", "paper": "#8172b3", "ides": "#2a7f62"}


def errors_figure(systems: dict[str, list[dict[str, Any]]]) -> Figure:
    """Bars of the arms' errors, one pair of panels for energies and forces; means over seeds, lines from least to most."""
    figure = Figure(figsize=(1.6 + 1.7 * len(systems), 5.6), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    for place, runs in enumerate(systems.values()):
        shown = [name for name in COLOURS if name in runs[0]["arms"]]
        for k, name in enumerate(shown):
            pairs = np.array([errors_of(run["arms"][name]) for run in runs])
            for axis, values in zip(axes, pairs.T, strict=True):
                where = place + 0.8 * (k - (len(shown) - 1) / 2) / len(shown)
                axis.bar(
                    where, values.mean(), 0.8 / len(shown), color=COLOURS[name], label=name if place == 0 else None
                )
                axis.plot([where, where], [values.min(), values.max()], color="black", lw=1)
    for axis, label in zip(axes, ("energy error, meV/atom", "force error, meV/Å"), strict=True):
        axis.set_yscale("log")
        axis.set_ylabel(label)
    axes[0].legend(ncols=5, fontsize=8, loc="upper left", bbox_to_anchor=(0.0, 1.2), frameon=False)
    axes[1].set_xticks(range(len(systems)), list(systems))
    axes[1].set_xlabel("system")
    return figure
