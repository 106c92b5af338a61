"""Relax the shell of a crop on the uncertainty, its core untouched: from the crop χ̃ to the substructure χ̃*."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.cropping.contacts import smallest_distance
from idealflow.core.cropping.crop import Crop
from idealflow.core.cropping.surroundings import contact_limits
from idealflow.core.embedding.constraints import GeometryRules
from idealflow.core.embedding.lbfgs import minimise
from idealflow.core.embedding.objectives import ShellObjective
from idealflow.core.embedding.rules import RelaxRules
from idealflow.core.embedding.variables import ShellVariables
from idealflow.core.protocols import OnePass, Uncertainty, two_passes
from idealflow.core.rules import with_single_rules
from idealflow.errors import InputError

__all__ = ["MOST_WORSENING", "Relaxed", "relax_shell"]

MAX_STEP = 0.15
#: a core atom's uncertainty may be at most this many times its reference
MOST_WORSENING = 2.0
HARDEN = 4.0
HARDEN_TRIES = 3
#: fraction of the remaining budget after which the core's weight is raised
PATIENCE = 0.5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Relaxed:
    """A substructure χ̃*: a crop after the relaxation of its shell.

    Attributes
    ----------
    atoms : the cell, in the crop's order and number of atoms
    core : (n,) bool; these atoms did not move
    centre : index of the centre
    parent_indices : (n,) index in the frame of each atom
    trace : objective at the start and after every accepted step
    n_steps : how often objective and gradient were evaluated
    reason : why it ended: "in_distribution" (the goal is reached), "converged", "steps" (the budget is spent), "contact" (no
    geometry
        was found that keeps the rules), "unknown" (all atoms that could move are infinitely uncertain, in the crop or after
        any step: their species were never seen, or in too few environments), or "unchanged" (there is no shell, or nothing
        better than the crop was found)
    uncertainty_before, uncertainty_after : mean uncertainty of the shell
    shell_ratio : mean ratio, over the shell, of the uncertainty to the level that the objective asks for
    values : (n,) uncertainties of `atoms`
    core_worsening : largest ratio of a core atom's uncertainty to its reference
    core_worsening_before : the same in the crop
    min_contact : smallest distance between two atoms, Å

    Examples
    --------
    A whole frame has no shell, so nothing moves:

    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel, whole_frame
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> relaxed = relax_shell(u, whole_frame(u, crystal, 0))
    >>> relaxed.reason, relaxed.n_steps
    ('unchanged', 0)
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


def relax_shell(u: Uncertainty, crop: Crop, *, rules: RelaxRules | None = None, **single: Any) -> Relaxed:
    """Move shell atoms and cell until the shell looks like what the model knows: from the crop χ̃ to the substructure χ̃*.

    The core stands still in Cartesian space, bit for bit. Shell positions and the free components of the cell move together along
    the exact gradient of the objective, by L-BFGS (the paper moves positions alone: ``cell=False``). Smooth penalties keep
    contacts, the core's sphere, the widths of the cell and its density. Only a geometry that keeps the hard rules is returned,
    and never one that is worse than the start: in the shell's mean uncertainty, or, for the hinges, in a core atom less known
    than twice its reference. If that last rule alone is still broken when half of the remaining steps are spent, or at
    convergence, the core's weight is multiplied by four and the run goes on, three times at most.

    Parameters
    ----------
    u
        The uncertainty, with its gradient.
    crop
        Where to start.
    rules
        Budget, objective and goal. None: ``RelaxRules()``.
    **single
        Single fields of ``rules`` by name, as in ``max_steps=100``.

    Returns
    -------
    Relaxed
        The same atoms in the same order.

    Raises
    ------
    InputError
        If ``max_steps`` is below 1, or the objective or a rule is unknown.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel, crop_search
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> frame.rattle(0.1, seed=2)
    >>> crop = crop_search(u, frame, 99, n_candidates=5, max_atoms=150)[0]
    >>> ides = relax_shell(u, crop, max_steps=10)
    >>> ides.uncertainty_after <= ides.uncertainty_before
    True
    >>> bool((ides.atoms.positions == crop.atoms.positions)[ides.core].all())
    True
    """
    (rules,) = with_single_rules("relax_shell", single, (rules, RelaxRules))
    if rules.max_steps < 1:
        raise InputError(f"max_steps must be at least 1, got {rules.max_steps}")
    asked = ShellObjective(crop, rules.objective)
    if not (crop.shell & np.isfinite(crop.values)).any():
        reason = "unknown" if crop.shell.any() else "unchanged"
        return _outcome(crop, asked, crop.atoms.copy(), crop.values, [], 0, reason)
    limits = crop.limits
    if rules.min_contact is not None:
        limits = contact_limits(crop.atoms.numbers, crop.atoms.positions, rules.min_contact)
    run = _Run(u, crop, GeometryRules(crop, u.cutoff, limits), asked, rules)
    ended = run.go()
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
    """A geometry that keeps the rules; the smaller ``key`` is better: excess of the core's worsening, then objective."""

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
        geometry: GeometryRules,
        objective: ShellObjective,
        rules: RelaxRules,
    ) -> None:
        self._u, self._crop, self._geometry, self._objective, self._rules = u, crop, geometry, objective, rules
        self._variables = ShellVariables(crop, rules.cell)
        # the paper's objective leaves the core out
        self._allowed = MOST_WORSENING if objective.name != "mean" else np.inf
        self._worst = max(crop.core_worsening, self._allowed)
        self._scratch = crop.atoms.copy()
        self.best: _Geometry | None = None
        self.any_allowed = False
        self.n_evaluations, self._n_infinite = 0, 0
        self._harden_at = 0.0
        self.trace: list[float] = []

    def go(self) -> str:
        """Minimise; returns why it ended."""
        max_steps = self._rules.max_steps
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
        """True if the goal is reached."""
        return self.best is not None and self._core_kept and self.best.mean <= self._rules.threshold

    def _stop(self, value: float) -> bool:
        """Note an accepted step; True ends the minimisation, for good or to go on with more weight on the core."""
        self.trace.append(value)
        return self._in_distribution or (self.n_evaluations >= self._harden_at and not self._core_kept)

    def _evaluate(self, x: Floats) -> tuple[float, Floats]:
        """Objective plus penalties, and the gradient."""
        self.n_evaluations += 1
        positions, cell = self._variables.geometry(x)
        penalty, by_position, by_cell, breaches = self._geometry.penalty(positions, cell)
        self._scratch.set_cell(cell)
        self._scratch.set_positions(positions)
        u = self._u
        values, pull_back = (
            u.values_and_pull_back(self._scratch) if isinstance(u, OnePass) else two_passes(u, self._scratch)
        )
        value, slopes = self._objective(values)
        self._n_infinite += not np.isfinite(value)
        if slopes.any():
            in_positions, in_cell = pull_back(slopes)
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
    """Mean of uncertainties (n,) over the shell, or over all atoms if there is no shell."""
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
