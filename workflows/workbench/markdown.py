"""Tables in Markdown, and numbers as a page shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells under heads.

    Raises
    ------
    ValueError
        If a row has more or fewer cells than there are heads.
    """
    lines = [heads, *rows]
    if any(len(row) != len(heads) for row in lines):
        raise ValueError(f"each row of a table under {list(heads)} needs {len(heads)} cells")
    cells = ["| " + " | ".join(row) + " |" for row in lines]
    return "\n".join([cells[0], "|---" * len(heads) + "|", *cells[1:]])


def thousands(value: float) -> str:
    """A whole number, its thousands set apart by a space."""
    return f"{value:,.0f}".replace(",", " ")


def digits(value: float, significant: int = 2) -> str:
    """So many significant digits, one more from 100 on; ∞ for what is infinite."""
    if value == float("inf"):
        return "∞"
    if value >= 10**significant:
        return thousands(float(f"{value:.{significant + 1}g}"))
    found = f"{value:#.{significant}g}"
    return found.rstrip(".") if float(found) < 10**significant else f"{value:.0f}"


def ratio(found: Sequence[float], decimals: int = 1) -> str:
    """Median, and lowest and highest in brackets."""
    median, low, high = (f"{value:.{decimals}f}" for value in found)
    return f"{median} ({low}–{high})"
