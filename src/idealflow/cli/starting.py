"""What a terminal shows while a command imports its packages and checks its config."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

__all__ = ["starting"]


def starting(quiet: bool = False) -> AbstractContextManager[object]:
    """A turning mark and a word on a terminal until the block is left, then nothing; elsewhere nothing at all.

    Parameters
    ----------
    quiet
        True: nothing anywhere.

    Examples
    --------
    >>> with starting():  # no terminal here
    ...     import numpy
    """
    if quiet:
        return nullcontext()
    from rich.console import Console

    return Console().status("starting")
