"""A running campaign in the terminal: one live line where there is a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from idealflow.schemas import CampaignState
from idealflow.wording import counted
from idealflow.workflow.campaign.state import next_action
from idealflow.workflow.jobs.progress import NOTES, Progress

__all__ = ["Display", "fitted"]

_LINE_EVERY_S = 10.0
_COLUMNS = 80  # of the live line, where the terminal has no fewer

#: stages that report their gradient steps
_TRAININGS = ("bootstrap", "consolidation", "update")

#: what the labels are for that are counted, by the campaign's action
_LABELS_OF = {"bootstrap": "bootstrap", "evaluate": "evaluation", "relabel": "relabelling"}

#: what a job is called that the line has nothing else of, and several of them
_UNDER_WAY = {
    "crop": ("crop", "crops"),
    "relax": ("relaxation", "relaxations"),
    "bootstrap-fit": ("first fit", "first fits"),
    "relabel-fit": ("fit", "fits"),
    "update": ("update", "updates"),
    "consolidate": ("consolidation", "consolidations"),
    "evaluation-compare": ("comparison", "comparisons"),
}


class Display:
    """Shows step, temperature, highest uncertainty beside the threshold, labels so far, what is under way, and the time left.

    The time left is that of the rest of the schedule at the pace of all stages together (dynamics, labels, learning), and
    of what comes after the schedule.

    Parameters
    ----------
    state
        Where the campaign stands at the start.
    stream
        Where to write: one live line if it is a terminal, else a line every ten seconds and at every notable event.
    afterwards
        Seconds from the end of the schedule to the end of the campaign in a given state, or None if nobody knows; default:
        nothing comes after it.

    Examples
    --------
    >>> import io
    >>> from idealflow.provenance import sample_campaign
    >>> stream = io.StringIO()
    >>> with Display(sample_campaign().state(), stream):
    ...     pass
    >>> stream.getvalue().strip()
    'step 60/60 | 5 labels | model 4'
    """

    def __init__(
        self,
        state: CampaignState,
        stream: TextIO | None = None,
        afterwards: Callable[[CampaignState], float | None] = lambda _: 0.0,
    ) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._live = (
            Live(console=self._console, refresh_per_second=4, transient=True) if self._console.is_terminal else None
        )
        self._state, self._afterwards = state, afterwards
        self._after = afterwards(state)
        self._steps = {walker.walker: walker.step for walker in state.walkers}
        self._pace: tuple[float, int] | None = None
        self._last: Progress | None = None
        self._labels = (0, 0)
        self._labelling: tuple[float, int] | None = None  # when the first were counted, and how many
        self._running: dict[str, int] = {}
        self._training: Progress | None = None
        self._training_since: tuple[float, int] | None = None
        self._said: set[str] = set()
        self._written = 0.0
        self._told: set[tuple[str, str]] = set()

    def __enter__(self) -> Display:
        """Start showing."""
        if self._state.round == 0:
            for message in self._state.notes:
                self._once(message)
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop showing; the last line stays."""
        if self._live is not None:
            self._live.stop()
        parts = self._parts()
        last = self._line() if self._live is None else fitted(parts, min(_COLUMNS, self._console.width))
        self._console.print(last, markup=False, soft_wrap=True)

    def __call__(self, event: Progress) -> None:
        """Take in an event of a stage."""
        if event.stage == "segment" and event.step is not None and event.walker is not None:
            self._steps[event.walker] = event.step
            if self._pace is None:
                self._pace = (time.monotonic(), sum(self._steps.values()))
            self._last = event
        elif event.stage == "labels":
            if self._labelling is None:
                self._labelling = (time.monotonic(), event.done or 0)
            self._labels = (event.done or 0, event.total or 0)
            self._training = None
        elif event.stage == "jobs":
            self._running = dict(event.running or {})
            if self._labelling is None and self._n_labelling:
                self._labelling = (time.monotonic(), self._labels[0])
        elif event.stage in _TRAININGS and event.step is not None:
            if self._training is None or self._training.stage != event.stage:
                self._training_since = (time.monotonic(), event.step)
            self._training = event if event.step != event.n_steps else None
        elif event.stage in NOTES:
            self._once(event.message)
        elif event.message and event.stage != "round" and (event.stage, _kind(event.message)) not in self._told:
            self._told.add((event.stage, _kind(event.message)))
            self._note(f"{event.stage}: {event.message}")
        self._show()

    def committed(self, state: CampaignState) -> None:
        """Take in a committed state; a new model version is worth a line."""
        before, self._state = self._state, state
        self._after = self._afterwards(state)
        self._labels, self._labelling, self._training, self._running = (0, 0), None, None, {}
        self._steps |= {walker.walker: walker.step for walker in state.walkers}
        new = state.n_substructures - before.n_substructures
        failed = state.n_failed_labels - before.n_failed_labels
        if before.learner is None and state.learner is not None:
            n = state.n_bootstrap_labels
            learned = f"{counted(n, 'label')} by {state.label_method}" if n else "from structures that had labels"
            self._note(f"bootstrap: {learned}, threshold {state.threshold:.2f}")
            if state.too_few:
                from idealflow.report.wording import too_few_line

                self._note(f"warning: {too_few_line(state.too_few)}")
        if new or failed:
            version = None if state.learner is None else state.learner.version
            self._note(
                f"round {state.round}: {counted(new, 'new label')}"
                + (f", {failed} failed" if failed else "")
                + f", model {version}"
            )
        self._show()

    def _once(self, message: str) -> None:
        """Say what became of the input, only once, since the input is read several times."""
        if message not in self._said:
            self._said.add(message)
            self._note(message)

    def _note(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _show(self) -> None:
        if self._live is not None:
            columns = min(_COLUMNS, self._console.width)
            self._live.update(Text(fitted(self._parts(), columns), no_wrap=True, overflow="ellipsis"))
        elif time.monotonic() - self._written > _LINE_EVERY_S:
            self._written = time.monotonic()
            self._console.print(self._line(), markup=False, soft_wrap=True)

    def _line(self) -> str:
        return " | ".join(text for text, _ in self._parts() if text)

    def _parts(self) -> list[tuple[str, float]]:
        """Parts of the line, each with its weight: where there is no room, the lightest go first."""
        done, total = sum(self._steps.values()), self._state.schedule_steps * max(1, len(self._steps))
        begun = self._state.learner is not None  # before there is a model nothing has moved, and nothing was learned
        parts: list[tuple[str, float]] = [(f"step {done}/{total}", 9 if begun else 2)]
        if self._last is not None and self._last.temperature is not None:
            parts.append((f"{self._last.temperature:.0f} K", 2))
        if self._last is not None and self._last.uncertainty is not None and self._last.threshold is not None:
            parts.append((f"uncertainty {self._last.uncertainty:.2f} of {self._last.threshold:.2f}", 4))
        parts.append((counted(self._state.n_substructures, "label"), 6 if begun else 1))
        if labels := self._labels_under_way():
            parts.append((labels, 8))
            if self._n_labelling:
                parts.append((f"{self._n_labelling} under way", 2.5))
            if (each := _pace(self._labelling, self._labels[0])) is not None:
                parts.append((f"{each:.2g} s each", 3))
        if self._state.n_failed_labels:
            parts.append((f"{self._state.n_failed_labels} failed", 7))
        if self._state.learner is not None:
            parts.append((f"model {self._state.learner.version}", 2.6))
        elif not labels and self._training is None:
            parts.append(("bootstrap", 8))
        if self._training is not None:
            loss = "" if self._training.loss is None else f", loss {self._training.loss:.2g}"
            parts.append((f"{self._training.stage} {self._training.step}/{self._training.n_steps}{loss}", 8))
        elif jobs := self._jobs_under_way():
            parts.append((jobs, 5.5))
        parts.append((self._left(done, total), 5))
        return parts

    def _labels_under_way(self) -> str:
        """How many labels of the present action have ended; empty where none is to come."""
        ended, asked = self._labels[0], max(self._labels[1], self._labels[0] + self._n_labelling)
        if ended == asked:
            return ""
        what = _LABELS_OF.get(next_action(self._state).kind, "round")
        return f"{what}: {ended} of {counted(asked, 'label')}"

    @property
    def _n_labelling(self) -> int:
        return sum(n for stage, n in self._running.items() if stage == "label" or stage.endswith("-label"))

    def _jobs_under_way(self) -> str:
        names = {stage: _UNDER_WAY[stage][n > 1] for stage, n in self._running.items() if stage in _UNDER_WAY}
        return ", ".join(
            f"{self._running[stage]} {name}" if self._running[stage] > 1 else name for stage, name in names.items()
        )

    def _left(self, done: int, total: int) -> str:
        """The time left of the campaign; before the dynamics have moved in this run, that of the stage under way."""
        if done < total:
            if (each := _pace(self._pace, done)) is None:
                stage = self._left_of_stage()
                return "" if stage is None else f"{_duration(stage[0])} left of the {stage[1]}"
            left = each * (total - done)
        else:
            stage, action = self._left_of_stage(), next_action(self._state).kind
            if action == "stop" and self._pace is None:  # it was finished before this run
                return ""
            if action == "evaluate" and (stage is not None or self._labels[0]):
                return f"{_duration(stage[0] if stage else 0.0)} left"
            left = 0.0 if stage is None else stage[0]
        known = self._after is not None
        return f"{_duration(left + (self._after or 0.0))} left" + ("" if known else " but for the evaluation")

    def _left_of_stage(self) -> tuple[float, str] | None:
        """Time left, s, of the training or the labels under way, and which of them it is; None if their pace is not known."""
        training, (ended, asked) = self._training, self._labels
        if training is not None and training.step is not None and training.n_steps is not None:
            each, rest, what = _pace(self._training_since, training.step), training.n_steps - training.step, "training"
        else:
            each, rest, what = _pace(self._labelling, ended), asked - ended, "labels"
        return None if each is None or not rest else (each * rest, what)


def _pace(since: tuple[float, int] | None, done: int) -> float | None:
    """Wall time of one of what was done since a moment, at which some were done already, s; None before there is one."""
    return None if since is None or done <= since[1] else (time.monotonic() - since[0]) / (done - since[1])


def fitted(parts: list[tuple[str, float]], columns: int) -> str:
    """Join parts of a line, without the lightest where it would be longer than ``columns``.

    Parameters
    ----------
    parts
        Text and weight of each; empty texts are left out.
    columns
        Most characters.

    Examples
    --------
    >>> fitted([("step 30/300", 9), ("166 K", 2), ("2 labels", 6)], columns=24)
    'step 30/300 | 2 labels'
    """
    kept = [part for part in parts if part[0]]
    while len(kept) > 1 and len(" | ".join(text for text, _ in kept)) > columns:
        kept.remove(min(kept, key=lambda part: part[1]))
    return " | ".join(text for text, _ in kept)


def _kind(message: str) -> str:
    """A message without its numbers: of messages that differ in numbers alone only the first is shown."""
    return "".join(character for character in message if not character.isdigit())


def _duration(seconds: float) -> str:
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
