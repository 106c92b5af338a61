"""Numbers in sentences."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """A number of things: the noun in the singular for one, with an s for any other number.

    Examples
    --------
    >>> counted(1, "new label"), counted(0, "label"), counted(3, "walker")
    ('1 new label', '0 labels', '3 walkers')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
