"""Events that stages report while they run, and listeners to them, such as the display of `idealflow run`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["NOTES", "SPELLING", "Progress", "emit", "listening", "note", "noted"]

#: values of ``stage`` whose messages tell what became of the user's input: always shown, and kept with the campaign
NOTES = ("structure", "dataset")

#: value of ``stage`` of messages that tell how a key of a config is written now
SPELLING = "config"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """One event of a running campaign.

    Attributes
    ----------
    stage
        Stage that reports: segment, crop, relax, label, update, bootstrap, consolidation, evaluate, round; the driver, the labels
        of the round (``labels``), or all that is under way (``jobs``); or the input that a message is about: structure, dataset,
        config.
    walker, step, n_steps
        Number of the walker, its MD step, and the steps of the whole schedule; of a training its gradient steps.
    temperature
        Instantaneous temperature, K.
    uncertainty, threshold
        Highest normalised uncertainty of the last screened frame, and the threshold.
    message
        Text to show.
    done, total
        How many of the round's labels have ended, and how many have been asked for so far.
    loss
        Loss of a training at this step.
    running
        Jobs that are under way, by the name of their stage.

    Examples
    --------
    >>> event = Progress("segment", walker=0, step=40, n_steps=60, temperature=437.0)
    >>> f"{event.stage} of walker {event.walker}: step {event.step} of {event.n_steps}, {event.temperature:.0f} K"
    'segment of walker 0: step 40 of 60, 437 K'
    """

    stage: str
    walker: int | None = None
    step: int | None = None
    n_steps: int | None = None
    temperature: float | None = None
    uncertainty: float | None = None
    threshold: float | None = None
    message: str = ""
    done: int | None = None
    total: int | None = None
    loss: float | None = None
    running: Mapping[str, int] | None = None


_listeners: list[Callable[[Progress], None]] = []


def emit(event: Progress) -> None:
    """Pass an event to every listener; without any it goes to the log at DEBUG level.

    Examples
    --------
    >>> with listening(lambda event: print(event.stage, event.message)):
    ...     emit(Progress("update", message="version 1 learned 2 labels"))
    update version 1 learned 2 labels
    """
    for listener in _listeners:
        listener(event)
    if not _listeners:
        logger.debug("%s", event)


@contextmanager
def listening(listener: Callable[[Progress], None]) -> Iterator[None]:
    """Call ``listener`` with every event of this process while the context is open.

    Examples
    --------
    >>> steps = []
    >>> with listening(lambda event: steps.append(event.step)):
    ...     emit(Progress("segment", step=10))
    >>> emit(Progress("segment", step=20))  # nobody listens any more
    >>> steps
    [10]
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def note(what: str, message: str) -> None:
    """Report what became of an input of the user's.

    Parameters
    ----------
    what
        ``structure`` or ``dataset``.
    message
        A whole sentence or two, shown to the user and kept with the campaign (:func:`noted`).

    Examples
    --------
    >>> with listening(lambda event: print(f"{event.stage}: {event.message}")):
    ...     note("dataset", "frames.xyz: stress of 12 structures from the virial (eV), as −virial / volume")
    dataset: frames.xyz: stress of 12 structures from the virial (eV), as −virial / volume
    """
    emit(Progress(what, message=message))


@contextmanager
def noted() -> Iterator[list[str]]:
    """Collect the notes (:func:`note`) made while the context is open, each once, so that a document can keep them.

    Examples
    --------
    >>> with noted() as notes:
    ...     note("dataset", "the dataset was not compared with the labeller")
    >>> notes
    ['the dataset was not compared with the labeller']
    """
    notes: list[str] = []

    def listener(event: Progress) -> None:
        if event.stage in NOTES and event.message not in notes:
            notes.append(event.message)

    with listening(listener):
        yield notes
