"""Parts of a section: figures, tables, facts and notes, as plain data that goes to the page as JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Section", "figure", "line", "missing", "note", "numbers", "table", "thinned", "written"]

Block = dict[str, Any]
Float = NDArray[np.float64]

_MOST_POINTS = 3000  # points of a line: more than a screen has columns


class Section:
    """One section of the report: a title, what it is about, and its blocks in order.

    Parameters
    ----------
    key
        Its name in addresses, such as ``learning``.
    title
        Its heading.
    about
        A sentence or two that say what is seen here, and why.

    Examples
    --------
    >>> section = Section("cost", "Cost", "What the labels cost.")
    >>> section.add(note("No label is made yet."))
    >>> section.as_json()["blocks"][0]["text"]
    'No label is made yet.'
    """

    def __init__(self, key: str, title: str, about: str) -> None:
        self.key = key
        self.title = title
        self.about = about
        self.blocks: list[Block] = []

    def add(self, *blocks: Block | None) -> None:
        """Append blocks; None is nothing to append."""
        self.blocks += [block for block in blocks if block is not None]

    def as_json(self) -> dict[str, Any]:
        """The section as a dictionary that JSON can hold."""
        return {"key": self.key, "title": self.title, "about": self.about, "blocks": self.blocks}


def numbers(values: ArrayLike, dtype: str = "f4") -> dict[str, Any]:
    """Pack numbers as the figures' library reads them: base64 of a typed array, four bytes a number unless asked for others.

    Infinite values become NaN, which no figure draws.

    Examples
    --------
    >>> numbers([1.0, 2.0])
    {'dtype': 'f4', 'bdata': 'AACAPwAAAEA='}
    """
    array = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
    if array.dtype.kind == "f":
        array = np.where(np.isfinite(array), array, np.nan).astype(array.dtype)
    packed = {"dtype": dtype, "bdata": base64.b64encode(array.tobytes()).decode()}
    return packed if array.ndim == 1 else packed | {"shape": ", ".join(map(str, array.shape))}


def thinned(x: ArrayLike, y: ArrayLike, most: int = _MOST_POINTS) -> tuple[Float, Float]:
    """Thin a long line so that it looks the same: of every stretch its lowest and its highest point stay.

    Parameters
    ----------
    x, y : (n,)
        The line; points whose y is no finite number are left out.
    most
        Largest number of points to keep.

    Examples
    --------
    >>> x, y = thinned(range(100_000), [0.0] * 99_999 + [7.0])
    >>> len(x) <= 3000, y.max()
    (True, np.float64(7.0))
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    good = np.isfinite(b)
    a, b = a[good], b[good]
    if len(a) <= most:
        return a, b
    edges = np.linspace(0, len(a), most // 2 + 1).astype(int)
    kept = [
        start + place
        for start, stop in pairwise(edges)
        for place in sorted({int(b[start:stop].argmin()), int(b[start:stop].argmax())})
    ]
    return a[kept], b[kept]


def line(x: ArrayLike, y: ArrayLike, name: str, colour: str, **more: Any) -> dict[str, Any]:
    """One line of a figure, thinned and packed; ``colour`` is a name of the page's palette, such as ``@blue``.

    Examples
    --------
    >>> line([0, 1], [2, 3], "energy", "@blue")["line"]
    {'color': '@blue', 'width': 1.4}
    """
    a, b = thinned(x, y)
    style = {"color": colour, "width": 1.4} | more.pop("line", {})
    return {"type": "scatter", "mode": "lines", "name": name, "x": numbers(a), "y": numbers(b), "line": style} | more


def figure(key: str, title: str, hint: str, traces: Sequence[dict[str, Any]], x: str, y: str, **layout: Any) -> Block:
    """One interactive figure.

    Parameters
    ----------
    key
        Its name, unique on the page.
    title, hint
        Its heading, and what one sees in it.
    traces
        Lines, points and bars, as plotly.js has them.
    x, y
        Labels of the axes, with units.
    layout
        Further settings of plotly.js's layout.

    Examples
    --------
    >>> figure("energy", "Energy", "Of the model.", [], "MD step", "energy (eV/atom)")["layout"]["xaxis"]["title"]
    {'text': 'MD step'}
    """
    whole = {name: {"title": {"text": text}} for name, text in (("xaxis", x), ("yaxis", y))}
    for name, value in layout.items():
        whole[name] = whole.get(name, {}) | value if isinstance(value, dict) else value
    return {"kind": "figure", "key": key, "title": title, "hint": hint, "data": list(traces), "layout": whole}


def table(title: str, hint: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]) -> Block:
    """A table: columns as (name with unit, what it means), rows of texts and numbers.

    Examples
    --------
    >>> table("Labels", "", [("time (s)", "wall time")], [[0.123456], [float("nan")]])["rows"]
    [['0.1235'], ['–']]
    """
    return {
        "kind": "table",
        "title": title,
        "hint": hint,
        "columns": [{"name": name, "hint": about} for name, about in columns],
        "rows": [[written(value) for value in row] for row in rows],
    }


def written(value: Any) -> str:
    r"""Write a value as the page shows it: four digits, a dash where there is none.

    Examples
    --------
    >>> written(None), written(1234567.0), written(0.00012), written(7), written(True), written(float("inf"))
    ('–', '1\u202f235\u202f000', '0.00012', '7', 'yes', '∞')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return _number(float(value))
    if isinstance(value, int | np.integer):
        whole = int(value)
        return f"{whole:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if abs(whole) > 9999 else str(whole)
    return str(value)


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if 1e4 <= abs(value) < 1e9:
        digits = math.floor(math.log10(abs(value))) - 3
        return f"{round(value, -digits):,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def note(text: str, *, warning: bool = False) -> Block:
    """A sentence that stands out; a warning more so.

    Examples
    --------
    >>> note("The bootstrap is under way.")["warning"]
    False
    """
    return {"kind": "note", "text": text, "warning": warning}


def missing(title: str, why: str) -> Block:
    """What stands in place of a figure or table for which the store has no data yet, and when it will.

    Examples
    --------
    >>> missing("Calibration", "no label is learned yet")["text"]
    'no label is learned yet'
    """
    return {"kind": "missing", "title": title, "text": why}
