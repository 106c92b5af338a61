"""Relax the shell of a crop on the uncertainty, its core untouched: from the crop χ̃ to the substructure χ̃*."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.cropping.contacts import smallest_distance
from idealflow.core.cropping.crop import Crop
from idealflow.core.cropping.surroundings import contact_limits
from idealflow.core.embedding.constraints import GeometryRules
from idealflow.core.embedding.lbfgs import minimise
from idealflow.core.embedding.objectives import Objective, ShellObjective, check_objective
from idealflow.core.embedding.variables import ShellVariables
from idealflow.core.protocols import Uncertainty
from idealflow.errors import InputError

__all__ = ["MOST_WORSENING", "Relaxed", "relax_shell"]

MAX_STEP = 0.15
#: no core atom may become less known than this many times its value in the frame
MOST_WORSENING = 2.0
HARDEN = 4.0
HARDEN_TRIES = 3
#: part of the evaluations left after which a core that is still less known than allowed gets more weight
PATIENCE = 0.5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Relaxed:
    """A substructure χ̃*: a crop whose shell was moved towards the known.

    Attributes
    ----------
    atoms : the cell, in the crop's order and number of atoms
    core : (n,) bool; these atoms did not move
    centre : index of the centre
    parent_indices : (n,) index in the frame of each atom
    trace : objective after every accepted step, the start first
    n_steps : evaluations spent
    reason : "in_distribution", "converged", "steps", "contact" (no geometry found that keeps the rules),
        "unknown" (what could move is infinitely uncertain, in the crop or after any step: its species was never seen, or in too
        few environments) or "unchanged"
    uncertainty_before, uncertainty_after : mean over the shell
    shell_ratio : mean over the shell of the uncertainty over the level that the objective asks for
    values : (n,) uncertainties of `atoms`
    core_worsening : largest ratio, over the core, of the uncertainty to the reference
    core_worsening_before : the same in the crop
    min_contact : smallest distance between two atoms, Å
    """

    atoms: Atoms
    core: NDArray[np.bool_]
    centre: int
    parent_indices: NDArray[np.int64]
    trace: list[float]
    n_steps: int
    reason: str
    uncertainty_before: float
    uncertainty_after: float
    shell_ratio: float
    values: Floats
    core_worsening: float
    core_worsening_before: float
    min_contact: float


def relax_shell(
    u: Uncertainty,
    crop: Crop,
    max_steps: int = 300,
    cell: bool = True,
    threshold: float = 1.0,
    min_contact: float | None = None,
    objective: Objective = "frame-hinge",
) -> Relaxed:
    """Move shell atoms and cell margins until the shell looks like what the model knows.

    The core stands still in Cartesian space, bit for bit. Shell positions and the free components of the cell move
    together along the exact gradient of the objective, by L-BFGS. Smooth penalties keep contacts, the core's sphere
    and the widths of the cell; only a geometry that keeps the hard rules can be returned, and never one that is worse
    than the start: in the shell's mean, or, for the hinges, in a core atom less known than twice its reference. Where
    that last rule alone is still broken when half of the steps left are spent, or at convergence, core atoms get four times
    the weight and the run goes on, three times at most.

    Parameters
    ----------
    u
        Uncertainty model.
    crop
        Where to start.
    max_steps
        Most evaluations of value and gradient.
    cell
        False moves positions alone (the paper's form).
    threshold
        The run ends when the shell's mean uncertainty is no higher and no core atom is worse than twice its reference;
        1 is the in-distribution mean.
    min_contact
        Å; one limit for all pairs instead of the crop's own limits.
    objective
        "frame-hinge", "hinge", "log-hinge" or "mean": see :mod:`~idealflow.core.embedding.objectives`.

    Returns
    -------
    Relaxed
        Same order and number of atoms.

    Raises
    ------
    InputError
        If `max_steps` is not positive or `objective` is unknown.
    """
    if max_steps < 1:
        raise InputError(f"max_steps must be at least 1, got {max_steps}")
    check_objective(objective)
    asked = ShellObjective(crop, objective)
    if not (crop.shell & np.isfinite(crop.values)).any():
        reason = "unknown" if crop.shell.any() else "unchanged"
        return _outcome(crop, asked, crop.atoms.copy(), crop.values, [], 0, reason)
    limits = (
        crop.limits if min_contact is None else contact_limits(crop.atoms.numbers, crop.atoms.positions, min_contact)
    )
    run = _Run(u, crop, GeometryRules(crop, u.cutoff, limits), asked, cell, threshold)
    ended = run.go(max_steps)
    if run.best is None:
        reason = "unknown" if run.only_infinite else "unchanged" if run.any_allowed else "contact"
        return _outcome(crop, asked, crop.atoms.copy(), crop.values, run.trace, run.n_evaluations, reason)
    return _outcome(
        crop,
        asked,
        run.best.atoms,
        run.best.values,
        run.trace,
        run.n_evaluations,
        "unknown" if run.only_infinite else ended,
    )


@dataclass(frozen=True)
class _Geometry:
    """An allowed geometry and its figures; `key` sorts: the core's excess over what is allowed, then the objective."""

    atoms: Atoms
    values: Floats
    mean: float
    worsening: float
    key: tuple[float, float]


class _Run:
    """One relaxation: evaluates geometries and keeps the best that breaks no rule and is no worse than the start."""

    def __init__(
        self,
        u: Uncertainty,
        crop: Crop,
        rules: GeometryRules,
        objective: ShellObjective,
        cell: bool,
        threshold: float,
    ) -> None:
        self._u, self._crop, self._rules, self._objective, self._threshold = u, crop, rules, objective, threshold
        self._variables = ShellVariables(crop, cell)
        # the paper's objective does not look at the core
        self._allowed = MOST_WORSENING if objective.name != "mean" else np.inf
        self._worst = max(crop.core_worsening, self._allowed)
        self._scratch = crop.atoms.copy()
        self.best: _Geometry | None = None
        self.any_allowed = False
        self.n_evaluations, self._n_infinite = 0, 0
        self._harden_at = 0.0
        self.trace: list[float] = []

    def go(self, max_steps: int) -> str:
        """Minimise; returns why it ended."""
        x, ended = np.zeros(len(self._variables)), "steps"
        for attempt in range(HARDEN_TRIES + 1):
            left = max_steps - self.n_evaluations
            self._harden_at = self.n_evaluations + PATIENCE * left if attempt < HARDEN_TRIES else np.inf
            x, ended = minimise(self._evaluate, x, left, MAX_STEP, self._stop)
            if self._core_kept or ended == "steps" or self.n_evaluations >= max_steps or attempt == HARDEN_TRIES:
                break
            self._objective.core_weight *= HARDEN
        return "in_distribution" if self._in_distribution else "converged" if ended == "converged" else "steps"

    @property
    def only_infinite(self) -> bool:
        """True if every step away from the start made some atom infinitely uncertain."""
        return 0 < self._n_infinite >= self.n_evaluations - 1

    @property
    def _core_kept(self) -> bool:
        """True if a geometry was found that keeps every core atom as known as asked, or if nothing is asked."""
        return np.isinf(self._allowed) or (self.best is not None and self.best.worsening <= self._allowed)

    @property
    def _in_distribution(self) -> bool:
        """True if nothing is left to do."""
        return self.best is not None and self._core_kept and self.best.mean <= self._threshold

    def _stop(self, value: float) -> bool:
        """Note an accepted step; True ends the run, or interrupts it for the core to get more weight."""
        self.trace.append(value)
        return self._in_distribution or (self.n_evaluations >= self._harden_at and not self._core_kept)

    def _evaluate(self, x: Floats) -> tuple[float, Floats]:
        """Objective plus penalties, and the gradient."""
        self.n_evaluations += 1
        positions, cell = self._variables.geometry(x)
        penalty, by_position, by_cell, breaches = self._rules.penalty(positions, cell)
        self._scratch.set_cell(cell)
        self._scratch.set_positions(positions)
        values = self._u(self._scratch)
        value, slopes = self._objective(values)
        self._n_infinite += not np.isfinite(value)
        if slopes.any():
            _, in_positions, in_cell = self._u.value_and_gradient(self._scratch, slopes)
            total = float(slopes.sum())
            by_position, by_cell = by_position + total * in_positions, by_cell + total * in_cell
        if breaches.allowed and np.isfinite(value):
            self.any_allowed = True
            self._consider(values, value)
        return value + penalty, self._variables.gradient(by_position, by_cell)

    def _consider(self, values: Floats, value: float) -> None:
        """Keep a geometry that is better than the best so far and no worse than the start."""
        mean, worsening = shell_mean(self._crop, values), core_worsening(self._crop, values)
        if mean > self._crop.uncertainty or worsening > self._worst:
            return
        key = (max(0.0, worsening - self._allowed), value)
        if self.best is None or key < self.best.key:
            self.best = _Geometry(self._scratch.copy(), values, mean, worsening, key)


def shell_mean(crop: Crop, values: Floats) -> float:
    """Mean of uncertainties (n,) over the shell, or over all atoms where there is none."""
    return float(values[crop.shell].mean() if crop.shell.any() else values.mean())


def core_worsening(crop: Crop, values: Floats) -> float:
    """Largest ratio of a core atom's uncertainty to its reference; species never seen (infinite) do not count."""
    known = crop.core & np.isfinite(crop.reference)
    return float(np.max(values[known] / crop.reference[known])) if known.any() else 1.0


def _outcome(
    crop: Crop, asked: ShellObjective, atoms: Atoms, values: Floats, trace: list[float], spent: int, reason: str
) -> Relaxed:
    return Relaxed(
        atoms=atoms,
        core=crop.core,
        centre=crop.centre,
        parent_indices=crop.parent_indices,
        trace=trace,
        n_steps=spent,
        reason=reason,
        uncertainty_before=crop.uncertainty,
        uncertainty_after=shell_mean(crop, values),
        shell_ratio=asked.shell_ratio(values),
        values=values,
        core_worsening=core_worsening(crop, values),
        core_worsening_before=crop.core_worsening,
        min_contact=smallest_distance(atoms),
    )
