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
from numpy.typing import NDArray

from idealflow.core.dynamics import MDState, Schedule
from idealflow.errors import InputError
from idealflow.schemas import SegmentDoc
from idealflow.workflow.campaign.record import in_full
from idealflow.workflow.campaign.settings import CampaignSettings

__all__ = [
    "Difference",
    "compared",
    "contradictions_of_the_log",
    "differences_of_the_start",
    "may_change",
    "of_the_site",
    "refusal",
    "shown",
]

#: settings of where and by whom work is done and what is checked before it; they do not change results
_SITE = ("artifacts", "work", "queues", "launchpad", "bootstrap.dataset_check", "segment.time_limit_s")

_FREE_KEYS = (
    *_SITE, "threshold", "learn", "n_attempts", "max_failed_labels", "max_failed_fraction", "segment.check_interval",
    "segment.segment_steps", "segment.trajectory_interval", "segment.max_force", "segment.max_temperature",
)  # fmt: skip
_FREE_SECTIONS = ("screen", "crop", "relax", "label", "update", "evaluation")

_LONGEST_SHOWN = 160

#: Å and u; structures that differ by less are the same, as for labels
_RESOLUTION = 1e-6

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


def differences_of_the_start(stored: MDState, asked: MDState, *, by_0_1: bool) -> tuple[list[Difference], list[str]]:
    """How the frame at step 0 differs from the one asked for, and remarks on what version 0.1.0 did not store of it.

    Velocities are not compared: they follow from seed and temperature.

    Parameters
    ----------
    stored, asked
        The frame that was run, and the one that is asked for.
    by_0_1
        Whether version 0.1.0 stored the first, which kept positions, cell and periodicity only.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import MDSegmentMaker
    >>> one, other = (MDSegmentMaker().initial_state(bulk("Cu", a=a) * 2, seed=0) for a in (3.6, 3.7))
    >>> differences, remarks = differences_of_the_start(one, other, by_0_1=False)
    >>> str(differences[0])
    'structure = "positions of 8 atoms Cu8", now "others, which differ by up to 0.1"'
    """
    one, other = _formula(stored), _formula(asked)
    if one != other or not np.array_equal(stored.numbers, asked.numbers):
        order = " in another order" if one == other else ""
        return [Difference("structure", one, f"{other}{order}", allowed=False)], []
    found, remarks = [], []
    for name, before, after in _parts(stored, asked):
        if before.shape == after.shape and np.allclose(before, after, rtol=0.0, atol=_RESOLUTION):
            continue
        if by_0_1 and name not in ("positions", "cell", "periodicity"):
            remarks.append(f"{name} of the structure are as version 0.1.0 ran it, not as the file has them")
            continue
        apart = f", which differ by up to {np.abs(before - after).max():.3g}" if before.shape == after.shape else ""
        found.append(Difference("structure", f"{name} of {one}", f"others{apart}", allowed=False))
    return found, remarks


def _parts(one: MDState, other: MDState) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    """The parts of two structures in pairs: name, array of the one, array of the other."""
    none = np.zeros(one.n_atoms)
    pairs: list[tuple[str, Any, Any]] = [
        ("positions", one.positions, other.positions),
        ("cell", one.cell, other.cell),
        ("periodicity", one.pbc, other.pbc),
        ("masses", one.masses, other.masses),
        ("fixed directions", one.fixed_directions, other.fixed_directions),
    ]
    pairs += [
        (key, one.extra.get(key, none), other.extra.get(key, none))
        for key in sorted(one.extra.keys() | other.extra.keys())
    ]
    pairs += [
        (key, one.totals.get(key, 0.0), other.totals.get(key, 0.0))
        for key in sorted(one.totals.keys() | other.totals.keys())
    ]
    for name, before, after in pairs:
        yield name, np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)


def contradictions_of_the_log(
    segments: Sequence[SegmentDoc], maker: CampaignSettings, start: MDState
) -> list[Difference]:
    """The first step in the stored logs of the MD that contradicts the schedule, and the first that contradicts the time step.

    Parameters
    ----------
    segments
        Stored segments.
    maker
        Settings that are asked for.
    start
        The frame at step 0, on which the time step may depend.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> maker = IdealMaker(label=LabelMaker(AseLabeller("ase.calculators.emt.EMT")))
    >>> contradictions_of_the_log([], maker, maker.segment.initial_state(bulk("Cu") * 2, seed=0))
    []
    """
    plan, step_fs = maker.segment.plan(), maker.segment.dynamics().time_step(start)
    found: dict[str, Difference] = {}
    for segment in segments:
        rows = zip(segment.log["step"], segment.log["time_fs"], segment.log["target"], strict=True)
        for step, time_fs, target in rows:
            if step <= plan.n_steps and not np.isclose(target, asked := plan.temperature(int(step)), rtol=1e-9):
                entry = Difference("segment.schedule", f"{target:g} K at step {step:g}", f"{asked:g} K", allowed=False)
                found.setdefault(entry.key, entry)
            if step and np.isfinite(time_fs) and not np.isclose(time_fs, step * step_fs, rtol=1e-9):
                entry = Difference("segment.sampler.timestep", time_fs / step, step_fs, allowed=False)
                found.setdefault(entry.key, entry)
    return list(found.values())


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


def _formula(state: MDState) -> str:
    return f"{len(state.numbers)} atoms {state.atoms().get_chemical_formula()}"
