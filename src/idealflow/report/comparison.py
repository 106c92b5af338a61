"""Figures of first and last model against the reference, on whole frames; drawn as those of :mod:`idealflow.report.figures`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from idealflow.report.canvas import BLUE, RED, column, drawing, plain, step_axis

__all__ = ["frame_errors_figure", "parity_figure"]


def parity_figure(
    energies: pd.DataFrame, forces: pd.DataFrame, path: str | Path, *, reference: str, n_frames: int | None = None
) -> Path:
    """Energies and forces of whole frames: first and last model against the reference.

    Parameters
    ----------
    energies
        One row a frame, columns ``reference``, ``first``, ``last``, eV/atom.
    forces
        One row a force component, same columns, eV/Å.
    path
        PNG file to write.
    reference
        Name of what the frames were labelled with; stands in the title.
    n_frames
        Number of frames; None: rows of ``energies``.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    InputError
        If there is nothing to draw.

    Examples
    --------
    >>> import tempfile
    >>> energies = pd.DataFrame({"reference": [-3.5, -3.4], "first": [-3.1, -3.2], "last": [-3.5, -3.4]})
    >>> forces = pd.DataFrame({"reference": [0.0, 0.5], "first": [0.2, 0.3], "last": [0.0, 0.5]})
    >>> path = parity_figure(energies, forces, f"{tempfile.mkdtemp()}/figure.png", reference="EMT")
    >>> path.exists()
    True
    """
    names = ("reference", "first", "last")
    energy = {name: column(energies, name, "the energies") for name in names}
    force = {name: column(forces, name, "the forces") for name in names}
    with drawing(path, size=(10.2, 3.7), n_columns=3) as axes:
        figure = axes[0].figure
        figure.suptitle(f"{n_frames or len(energies)} whole frames labelled by {reference}", fontsize=12)
        ax = axes[0]
        for name, colour, marker in (("first", RED, "o"), ("last", BLUE, "^")):
            error = 1000.0 * np.nanmean(np.abs(energy[name] - energy["reference"]))
            label = f"{name} model, MAE {error:.3g} meV/atom"
            ax.plot(
                energy["reference"], energy[name], marker, color=colour, ms=5, mfc=colour if name == "last" else "none",
                alpha=0.8, label=label,
            )  # fmt: skip
        _diagonal(ax, _limits(*energy.values()), "energy", "eV/atom")
        ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.1, handletextpad=0.2)
        limits = _limits(*force.values())
        for ax, name in zip(axes[1:], ("first", "last"), strict=True):
            error = 1000.0 * np.nanmean(np.abs(force[name] - force["reference"]))
            cells = ax.hexbin(
                force["reference"], force[name], gridsize=60, bins="log", mincnt=1, cmap="viridis", linewidths=0.1,
                extent=(*limits, *limits),
            )  # fmt: skip
            ax.set_title(f"{name} model, MAE {error:.3g} meV/Å")
            _diagonal(ax, limits, "force", "eV/Å")
        figure.colorbar(cells, ax=axes[1:], label="components", shrink=0.85, pad=0.02)
    return Path(path)


def _limits(*values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = (float(f(np.concatenate(values))) for f in (np.nanmin, np.nanmax))
    margin = 0.05 * (high - low) or 1e-3
    return low - margin, high + margin


def _diagonal(ax: Axes, limits: tuple[float, float], quantity: str, unit: str) -> None:
    ax.plot(limits, limits, color="black", lw=0.8, ls=":")
    ax.set(xlim=limits, ylim=limits, xlabel=f"reference {quantity} ({unit})", ylabel=f"model {quantity} ({unit})")
    ax.set_aspect("equal")
    ax.locator_params(nbins=5)


def frame_errors_figure(table: pd.DataFrame, path: str | Path, *, reference: str) -> Path:
    """Errors of the first and the last model on whole frames along the trajectory.

    Parameters
    ----------
    table
        One row a frame: ``step``, ``energy_first``, ``energy_last`` (absolute error, eV/atom), ``force_first``,
        ``force_last`` (mean absolute error, eV/Å).
    path
        PNG file to write.
    reference
        Name of what the frames were labelled with; stands in the title.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    InputError
        If there is nothing to draw.

    Examples
    --------
    >>> import tempfile
    >>> columns = ["step", "energy_first", "energy_last", "force_first", "force_last"]
    >>> table = pd.DataFrame([[0, 0.01, 0.002, 0.2, 0.05], [50, 0.03, 0.004, 0.4, 0.08]], columns=columns)
    >>> path = frame_errors_figure(table, f"{tempfile.mkdtemp()}/figure.png", reference="EMT")
    >>> path.exists()
    True
    """
    step = column(table, "step", "the errors")
    order = np.argsort(step, kind="stable")
    errors = {
        (kind, name): 1000.0 * column(table, f"{kind}_{name}", "the errors")[order]
        for kind in ("energy", "force")
        for name in ("first", "last")
    }
    with drawing(path, size=(6.4, 5.2), n_rows=2, sharex=True) as axes:
        axes[0].set_title(f"{len(step)} whole frames labelled by {reference}")
        for ax, kind, unit in zip(axes, ("energy", "force"), ("meV/atom", "meV/Å"), strict=True):
            for name, colour, marker, style in (("first", RED, "o", "--"), ("last", BLUE, "^", "-")):
                values = errors[kind, name]
                ax.plot(
                    step[order], values, color=colour, marker=marker, ls=style, lw=1.0, ms=4,
                    mfc=colour if name == "last" else "none", label=f"{name} model (mean {np.nanmean(values):.3g})",
                )  # fmt: skip
            ax.set_ylabel(f"{kind} error ({unit})")
            both = np.concatenate([errors[kind, "first"], errors[kind, "last"]])
            if np.nanmin(both) > 0.0 and np.nanmax(both) > 30.0 * np.nanmin(both):
                ax.set_yscale("log")
                ax.yaxis.set_major_formatter(plain)
            else:
                ax.set_ylim(bottom=0)
            ax.legend(loc="best")
        step_axis(axes[1])
    return Path(path)
