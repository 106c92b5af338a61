"""Style, canvas and data checks that the figures share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError

__all__ = ["column", "drawing", "plain", "series", "step_axis", "thousands", "walkers"]

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"
CYCLE = (BLUE, RED, GREEN, ORANGE, "#CC79A7", "#56B4E9")
_STYLE: Any = {
    "font.size": 10.0,
    "axes.labelsize": 11.0,
    "axes.titlesize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.4,
    "savefig.dpi": 160,
}


@contextmanager
def drawing(
    path: str | Path, size: tuple[float, float] = (6.4, 3.6), n_columns: int = 1, n_rows: int = 1, **options: Any
) -> Iterator[list[Axes]]:
    """Give axes to draw on, and write the picture when the block ends; nothing is written if drawing fails.

    Parameters
    ----------
    path
        PNG file to write.
    size
        Width and height, inches.
    n_columns, n_rows
        Number of axes, which come row by row.
    options
        Further arguments of matplotlib's ``subplots``.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "line.png")
    >>> with drawing(path) as (ax,):
    ...     _ = ax.plot([0, 1], [0, 1])
    >>> path.exists()
    True
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield list(figure.subplots(n_rows, n_columns, squeeze=False, **options).flat)
        # without the version that matplotlib adds: equal pictures give equal files
        figure.savefig(path, format="png", metadata={"Software": None})


def column(table: pd.DataFrame, name: str, what: str) -> NDArray[np.float64]:
    """Return a column of numbers.

    Parameters
    ----------
    table
        The table.
    name
        Name of the column.
    what
        What the table is, for the error's message.

    Raises
    ------
    InputError
        If there is no such column, or no finite number in it.

    Examples
    --------
    >>> column(pd.DataFrame({"step": [0, 5]}), "step", "the log")
    array([0., 5.])
    """
    if name not in table.columns:
        raise InputError(f"{what} needs a column {name!r}, got {list(table.columns)}")
    return series(table[name], f"column {name!r} of {what}")


def series(values: ArrayLike, what: str, like: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return numbers as a flat array.

    Parameters
    ----------
    values
        The numbers; at least one is finite.
    what
        What they are, for the error's message.
    like
        Array that they go with, one number for each of its own.

    Raises
    ------
    InputError
        If no number is finite, or their count differs from that of ``like``.

    Examples
    --------
    >>> series([1, 2], "the MSD")
    array([1., 2.])
    """
    array = np.asarray(values, dtype=np.float64).ravel()
    if array.size == 0 or not np.isfinite(array).any():
        raise InputError(f"a figure needs data, but {what} holds no finite value; draw it once there is some")
    if like is not None and array.shape != like.shape:
        raise InputError(f"{what} must have one value for each of {like.size}, got {array.size}")
    return array


def walkers(log: pd.DataFrame) -> list[pd.DataFrame]:
    """Split a log by its column ``walker``, so that no line is drawn from one walker to the next; without it the log is one.

    Examples
    --------
    >>> log = pd.DataFrame({"walker": [0, 1, 0], "step": [0, 0, 5]})
    >>> [list(rows["step"]) for rows in walkers(log)]
    [[0, 5], [0]]
    """
    return [rows for _, rows in log.groupby("walker")] if "walker" in log.columns else [log]


def thousands(value: float, _: float) -> str:
    """Write a tick's number with a thin space between thousands; the second argument, its position, is matplotlib's.

    Examples
    --------
    >>> thousands(12000, 0).replace("\N{THIN SPACE}", " ")
    '12 000'
    """
    return f"{value:,.0f}".replace(",", "\u2009")


def plain(value: float, _: float) -> str:
    """Write a tick's number without powers of ten; the second argument, its position, is matplotlib's.

    Examples
    --------
    >>> plain(0.1, 0), plain(10.0, 0)
    ('0.1', '10')
    """
    return f"{value:g}"


def step_axis(ax: Axes) -> None:
    """Label the horizontal axis as one of MD steps.

    Examples
    --------
    >>> ax = Figure().subplots()
    >>> step_axis(ax)
    >>> ax.get_xlabel()
    'MD step'
    """
    ax.set_xlabel("MD step")
    ax.xaxis.set_major_formatter(thousands)
    ax.margins(x=0.01)
