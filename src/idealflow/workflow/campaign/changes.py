"""What a rerun may change: the settings that a campaign ran with are compared key by key with those of the rerun.

:func:`may_change` is the rule. A change that it allows holds from the round at which the campaign is taken up, and is recorded.
Any other would contradict what has been run, and is refused. A key that is new in a version must have a default that gives the
behaviour of the versions before it, so that campaigns of theirs go on unchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from idealflow.core.dynamics import Schedule
from idealflow.errors import InputError
from idealflow.workflow.campaign.record import in_full

__all__ = [
    "Difference",
    "compared",
    "may_change",
    "of_the_site",
    "refusal",
    "shown",
]

#: settings of where and by whom work is done and what is checked before it; they do not change results
_SITE = ("artifacts", "work", "queues", "launchpad", "bootstrap.dataset_check", "segment.time_limit_s")

_FREE_KEYS = (
    *_SITE, "learn", "n_attempts", "max_failed_labels", "max_failed_fraction", "segment.check_interval",
    "segment.segment_steps", "segment.trajectory_interval", "segment.trajectory_format", "segment.max_force",
    "segment.max_temperature", "segment.max_kinetic_energy",
)  # fmt: skip
_FREE_SECTIONS = ("threshold", "screen", "crop", "relax", "label", "update", "evaluation")

_LONGEST_SHOWN = 160

_NOT_SET = object()


@dataclass(frozen=True)
class Difference:
    """A setting that differs from the one before.

    Attributes
    ----------
    key
        Section and name in the config.
    before, after
        The two values, as plain data.
    allowed
        Whether it may change.

    Examples
    --------
    >>> str(Difference("seed", 0, 1, allowed=False))
    'seed = 0, now 1'
    """

    key: str
    before: Any
    after: Any
    allowed: bool

    def __str__(self) -> str:
        return f"{self.key} = {shown(self.before)}, now {shown(self.after)}"


def may_change(key: str) -> bool:
    """Whether a rerun may change a key (``section.name``). The schedule has a rule of its own: what is ahead may change.

    Examples
    --------
    >>> may_change("crop.max_atoms"), may_change("seed")
    (True, False)
    """
    section = key.partition(".")[0]
    return key in _FREE_KEYS or section in _FREE_SECTIONS


def of_the_site(key: str) -> bool:
    """Whether a key only says where and by whom work is done or what is checked before, and changes no result.

    Examples
    --------
    >>> of_the_site("queues.segment"), of_the_site("threshold")
    (True, False)
    """
    return key in _SITE or key.startswith("queues.")


def _moved_with_its_folder(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether ``artifacts`` and ``work`` differ only because the campaign's folder, which holds both, was moved."""
    places = [[str(settings.get(key)) for key in ("artifacts", "work")] for settings in (before, after)]
    if any("://" in place for pair in places for place in pair):
        return False
    folders = [{Path(place).parent for place in pair} for pair in places]
    names = [[Path(place).name for place in pair] for pair in places]
    return names == [["artifacts", "work"]] * 2 and all(len(each) == 1 for each in folders)


def shown(value: Any) -> str:
    """A value as JSON in one line; a long one is shortened, with its length and hash.

    Examples
    --------
    >>> shown({"name": "langevin", "timestep": 2.0})
    '{"name": "langevin", "timestep": 2.0}'
    """
    if value is _NOT_SET:
        return "not set"
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    if len(text) <= _LONGEST_SHOWN:
        return text
    return f"{text[: _LONGEST_SHOWN // 2]}… ({len(text)} characters, {hashlib.sha256(text.encode()).hexdigest()[:12]})"


def compared(before: Mapping[str, Any], after: Mapping[str, Any], done: int) -> tuple[list[Difference], list[str]]:
    """Differences between two sets of settings, and the keys that only the second has.

    Parameters
    ----------
    before, after
        Results of :func:`~idealflow.workflow.campaign.record.settings_of`.
    done
        Largest number of steps that a walker has run; the schedule up to there may not change.

    Raises
    ------
    InputError
        If the new schedule is shorter than what has been run.

    Examples
    --------
    >>> found, new = compared({"seed": 0, "crop.max_atoms": 250}, {"seed": 0, "crop.max_atoms": 300, "work": None}, done=0)
    >>> [str(entry) for entry in found], new
    (['crop.max_atoms = 250, now 300'], ['work'])
    """
    found: list[Difference] = []
    one, other = in_full(before), in_full(after)
    moved = _moved_with_its_folder(before, after)
    for key in sorted(before.keys() & after.keys()):
        if moved and key in ("artifacts", "work"):
            continue
        if key == "segment.schedule":
            found += _schedules(before[key], after[key], done)
        else:
            found += _leaves(key, one[key], other[key], allowed=may_change(key))
    return found, sorted(after.keys() - before.keys())


def refusal(campaign: str, refused: Sequence[Difference]) -> InputError:
    """The error for settings that contradict what has been run, to be raised.

    Examples
    --------
    >>> print(refusal("copper", [Difference("seed", 0, 1, allowed=False)]))  # doctest: +ELLIPSIS
    campaign copper has been run with other settings: seed = 0, now 1. Put back what it was run with, or give the campaign ...
    """
    listed = "; ".join(str(entry) for entry in refused)
    return InputError(
        f"campaign {campaign} has been run with other settings: {listed}. Put back what it was run with, or give the campaign "
        "another name (and folder); the reference of the config lists what may change"
    )


def _schedules(before: Any, after: Any, done: int) -> list[Difference]:
    one, other = (Schedule.from_dict({"stages": stages}) for stages in (before, after))
    if other.n_steps < done:
        raise InputError(
            f"the schedule has {other.n_steps} steps, but the campaign has already run {done}; lengthen it"
        )
    if one == other:
        return []
    ends = np.cumsum([0, *(stage.steps for stage in (*one.stages,))]).tolist()
    ends += np.cumsum([stage.steps for stage in other.stages]).tolist()
    # both schedules are straight lines between these steps
    steps = sorted({step for end in ends for step in (end, end + 1) if 0 <= step <= done} | {0, done})
    for step in steps:
        if not np.isclose(one.temperature(step), other.temperature(step), rtol=1e-9, atol=0.0):
            was, now = (f"{plan.temperature(step):g} K at step {step}" for plan in (one, other))
            return [Difference("segment.schedule", f"{was} of {done} run", now, allowed=False)]
    return [Difference("segment.schedule", before, after, allowed=True)]


def _leaves(key: str, before: Any, after: Any, *, allowed: bool) -> Iterator[Difference]:
    """Differences between two values; mappings are compared key by key."""
    if isinstance(before, dict) and isinstance(after, dict):
        if "sha256" in before and "sha256" in after:
            if not _same_file(before, after):
                yield Difference(key, before["file"], after["file"], allowed=allowed)
            return
        for name in sorted(before.keys() | after.keys()):
            yield from _leaves(f"{key}.{name}", before.get(name, _NOT_SET), after.get(name, _NOT_SET), allowed=allowed)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        inner = [list(_leaves(key, *pair, allowed=allowed)) for pair in zip(before, after, strict=True)]
        if any(inner):
            yield Difference(key, before, after, allowed=allowed)
    elif before != after:
        yield Difference(key, before, after, allowed=allowed)


def _same_file(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one["sha256"] and other["sha256"]:
        return bool(one["sha256"] == other["sha256"])
    return Path(one["file"]).name == Path(other["file"]).name
