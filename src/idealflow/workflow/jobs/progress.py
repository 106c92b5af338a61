"""Events that stages report while they run; whoever drives the campaign may listen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["NOTES", "SPELLING", "Progress", "emit", "listening", "note", "noted"]

#: stages whose messages say what became of the user's input: shown in all output, and kept with the campaign
NOTES = ("structure", "dataset")

#: stage of the messages that say how a key of a config is written now
SPELLING = "config"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """One event of a running campaign.

    Attributes
    ----------
    stage
        Stage that reports: segment, crop, relax, label, update, bootstrap, evaluate, round; or the input of which something
        is said: structure, dataset, config.
    walker, step, n_steps
        Where the walker stands: MD step of the schedule's total.
    temperature
        Instantaneous temperature, K.
    uncertainty, threshold
        Highest normalised uncertainty of the last screened frame, and the threshold.
    message
        What else there is to say.
    """

    stage: str
    walker: int | None = None
    step: int | None = None
    n_steps: int | None = None
    temperature: float | None = None
    uncertainty: float | None = None
    threshold: float | None = None
    message: str = ""


_listeners: list[Callable[[Progress], None]] = []


def emit(event: Progress) -> None:
    """Tell every listener; without one the event goes to the log at DEBUG level."""
    for listener in _listeners:
        listener(event)
    if not _listeners:
        logger.debug("%s", event)


@contextmanager
def listening(listener: Callable[[Progress], None]) -> Iterator[None]:
    """Call ``listener`` with every event of this process while the context is open."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def note(what: str, message: str) -> None:
    """Say what became of an input of the user's: ``structure`` or ``dataset``."""
    emit(Progress(what, message=message))


@contextmanager
def noted() -> Iterator[list[str]]:
    """The notes made while the context is open, each once; keep them in the document that tells of the input."""
    notes: list[str] = []

    def listener(event: Progress) -> None:
        if event.stage in NOTES and event.message not in notes:
            notes.append(event.message)

    with listening(listener):
        yield notes
