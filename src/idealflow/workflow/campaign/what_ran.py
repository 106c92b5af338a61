"""Where what a campaign has run contradicts what a rerun asks for: its first structure, and the steps in its logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idealflow.core.dynamics import MDState
from idealflow.schemas import SegmentDoc
from idealflow.workflow.campaign.changes import Difference
from idealflow.workflow.campaign.settings import CampaignSettings

__all__ = ["contradictions_of_the_log", "differences_of_the_start"]

#: Å and u; structures that differ by less are the same, as for labels
_RESOLUTION = 1e-6


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


def _formula(state: MDState) -> str:
    return f"{len(state.numbers)} atoms {state.atoms().get_chemical_formula()}"
