"""What tables and figures of several models share: how the models are called, and axes one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOURCES = {"first": "first model", "last": "last model", "reference": "reference"}


def stacked(rows: int, size: tuple[float, float], **shared: Any) -> tuple[Figure, list[Any]]:
    """A figure that no window shows, and its axes one below the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, **shared)
    return figure, [each[0] for each in axes]
