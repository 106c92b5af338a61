"""Figures of a campaign: plain data in, PNG files out.

Nothing here knows where the data come from. Every function checks its data, draws with matplotlib's Agg canvas
(no display, no global figure state) and returns the path it wrote. Colours are those of Okabe and Ito, which stay
apart for colour-blind readers; meaning never hangs on colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from idealflow.errors import InputError
from idealflow.report.canvas import (
    BLUE,
    CYCLE,
    GREY,
    RED,
    column,
    drawing,
    plain,
    series,
    step_axis,
    thousands,
    walkers,
)

__all__ = [
    "labels_figure",
    "msd_figure",
    "rdf_figure",
    "temperature_figure",
    "uncertainty_figure",
]


def uncertainty_figure(
    log: pd.DataFrame, path: str | Path, *, threshold: float, label_steps: ArrayLike = (), title: str = ""
) -> Path:
    """Highest uncertainty of each screened frame, the threshold, and where labels were made.

    Parameters
    ----------
    log
        Columns ``step`` and ``max_uncertainty`` (1 is the in-distribution mean); with a column
        ``walker``, one line for each.
    path
        PNG file to write.
    threshold
        Uncertainty above which an atom triggers.
    label_steps
        Steps of accepted labels; repeated steps count once here.
    title
        Text above the picture.

    Raises
    ------
    InputError
        If there is nothing to draw, or the threshold is not positive.

    Examples
    --------
    >>> import tempfile
    >>> log = pd.DataFrame({"step": [0, 10, 20], "max_uncertainty": [1.2, 1.9, 4.1]})
    >>> path = uncertainty_figure(log, f"{tempfile.mkdtemp()}/figure.png", threshold=3.0, label_steps=[20])
    >>> path.exists()
    True
    """
    for name in ("step", "max_uncertainty"):
        column(log, name, "the log")
    if not (np.isfinite(threshold) and threshold > 0.0):
        raise InputError(f"the threshold must be positive and finite, got {threshold}")
    labelled = np.unique(np.asarray(label_steps, dtype=np.float64))
    with drawing(path) as (ax,):
        for number, rows in enumerate(walkers(log[log["max_uncertainty"] > 0.0])):
            label = "highest of the frame" if number == 0 else None
            ax.semilogy(rows["step"], rows["max_uncertainty"], color=BLUE, lw=0.9, label=label)
        ax.yaxis.set_major_formatter(plain)
        ax.axhline(threshold, color=RED, ls="--", label=f"threshold {threshold:.3g}")
        if labelled.size:
            marks = ax.get_xaxis_transform()
            ax.plot(
                labelled, np.full(labelled.size, 0.03), "|", color="black", ms=11, mew=0.8, transform=marks,
                label=f"labelled frame ({labelled.size})", clip_on=False,
            )  # fmt: skip
        ax.set_ylabel("uncertainty (1 = known)")
        ax.set_title(title, pad=26.0)
        ax.legend(loc="upper left", ncols=3, bbox_to_anchor=(0.0, 1.12), borderaxespad=0.0)
        step_axis(ax)
    return Path(path)


def labels_figure(label_steps: ArrayLike, path: str | Path, *, n_steps: int, title: str = "") -> Path:
    """Cumulative number of labelled substructures, and of labelled frames, against the step that asked for them.

    Parameters
    ----------
    label_steps
        One step for each accepted label.
    path
        PNG file to write.
    n_steps
        Last step made, so that a plateau at the end is seen.
    title
        Text above the picture.

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
    >>> path = labels_figure([20, 20, 50], f"{tempfile.mkdtemp()}/figure.png", n_steps=100)
    >>> path.exists()
    True
    """
    steps = np.sort(series(label_steps, "the steps of the labels"))
    frames = np.unique(steps)
    with drawing(path) as (ax,):
        for values, colour, style, name in (
            (steps, BLUE, "-", "substructures"),
            (frames, RED, "--", "frames"),
        ):
            x = np.concatenate([[0.0], values, [max(n_steps, values[-1])]])
            y = np.concatenate([np.arange(values.size + 1), [values.size]])
            ax.step(x, y, where="post", color=colour, ls=style, label=f"{name} ({values.size})")
        ax.set_ylabel("labelled so far")
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_title(title)
        ax.legend(loc="upper left")
        step_axis(ax)
    return Path(path)


def temperature_figure(log: pd.DataFrame, path: str | Path, *, title: str = "") -> Path:
    """Instantaneous and target temperature.

    Parameters
    ----------
    log
        Columns ``step``, ``temperature`` and ``target``, K; with a column ``walker``, one line for each.
    path
        PNG file to write.
    title
        Text above the picture.

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
    >>> log = pd.DataFrame({"step": [0, 10], "temperature": [295.0, 310.0], "target": [300.0, 300.0]})
    >>> path = temperature_figure(log, f"{tempfile.mkdtemp()}/figure.png")
    >>> path.exists()
    True
    """
    for name in ("step", "target", *(() if "temperature" in log else ("temperature",))):
        column(log, name, "the log")
    with drawing(path) as (ax,):
        for number, rows in enumerate(walkers(log)):
            labels = ("instantaneous", "target") if number == 0 else (None, None)
            if np.isfinite(rows["temperature"]).any():  # Monte Carlo has no velocities
                ax.plot(rows["step"], rows["temperature"], color=BLUE, lw=0.9, label=labels[0])
            ax.plot(rows["step"], rows["target"], color=RED, ls="--", label=labels[1])
        ax.yaxis.set_major_formatter(thousands)
        ax.set_ylabel("temperature (K)")
        ax.set_ylim(bottom=0)
        ax.set_title(title)
        ax.legend(loc="best")
        step_axis(ax)
    return Path(path)


def msd_figure(time_fs: ArrayLike, msd: Mapping[str, ArrayLike], path: str | Path, *, title: str = "") -> Path:
    """Mean squared displacement against time.

    Parameters
    ----------
    time_fs
        fs; drawn in ps.
    msd
        Å², by name (a species, "all atoms").
    path
        PNG file to write.
    title
        Text above the picture.

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
    >>> path = msd_figure([0, 100, 200], {"Cu": [0.0, 0.1, 0.2]}, f"{tempfile.mkdtemp()}/figure.png")
    >>> path.exists()
    True
    """
    time = series(time_fs, "the time")
    curves = {name: series(values, f"the MSD of {name}", time) for name, values in msd.items()}
    if not curves:
        raise InputError("a figure needs data, but there is no MSD; give at least one")
    with drawing(path) as (ax,):
        for (name, values), colour in zip(curves.items(), CYCLE * len(curves), strict=False):
            ax.plot(time / 1000.0, values, color=colour, label=name)
        ax.set_xlabel("time (ps)")
        ax.set_ylabel("mean squared displacement (Å²)")
        ax.set_ylim(bottom=0)
        ax.margins(x=0.01)
        ax.set_title(title)
        ax.legend(loc="upper left")
    return Path(path)


def rdf_figure(curves: Mapping[str, tuple[ArrayLike, ArrayLike]], path: str | Path, *, title: str = "") -> Path:
    """Radial distribution functions over one another, such as before and after melting.

    Parameters
    ----------
    curves
        (r in Å, g) by name.
    path
        PNG file to write.
    title
        Text above the picture.

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
    >>> path = rdf_figure({"start": ([2.0, 2.5, 3.0], [0.0, 2.5, 0.5])}, f"{tempfile.mkdtemp()}/figure.png")
    >>> path.exists()
    True
    """
    if not curves:
        raise InputError("a figure needs data, but there is no RDF; give at least one")
    checked = {}
    for name, (r, g) in curves.items():
        distance = series(r, f"r of {name}")
        checked[name] = distance, series(g, f"g of {name}", distance)
    with drawing(path) as (ax,):
        styles = ("-", "--", "-.", ":")
        for number, (name, (distance, values)) in enumerate(checked.items()):
            colour, style = CYCLE[number % len(CYCLE)], styles[number % len(styles)]
            ax.plot(distance, values, color=colour, ls=style, label=name)
        ax.axhline(1.0, color=GREY, lw=0.8)
        ax.set_xlabel("r (Å)")
        ax.set_ylabel("g(r)")
        ax.set_xlim(0.0, max(float(distance[-1]) for distance, _ in checked.values()))
        ax.set_ylim(bottom=0)
        ax.set_title(title)
        ax.legend(loc="upper right")
    return Path(path)
