"""Relax the shell of a crop on the uncertainty, its core untouched: from the crop χ̃ to the substructure χ̃*."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.cropping.contacts import smallest_distance
from idealflow.core.cropping.crop import Crop
from idealflow.core.cropping.surroundings import contact_limits
from idealflow.core.embedding.constraints import GeometryRules
from idealflow.core.embedding.lbfgs import minimise
from idealflow.errors import InputError

__all__ = ["Objective", "Relaxed", "relax_shell"]

Objective = Literal["hinge", "mean"]

MAX_STEP = 0.15
CELL_WEIGHT = 3.0
CHECK_EVERY = 5
ALLOWED_WORSENING = 1.5

Floats = NDArray[np.float64]


class DifferentiableUncertainty(Protocol):
    """What the relaxation asks of an uncertainty model."""

    @property
    def cutoff(self) -> float:
        """True cutoff of the descriptor, Å."""
        ...

    def __call__(self, atoms: Atoms) -> Floats:
        """Uncertainty per atom, 1 = in distribution."""
        ...

    def value_and_gradient(
        self, atoms: Atoms, weights: Floats | None = None, reference: Floats | None = None
    ) -> tuple[float, Floats, Floats]:
        """Objective, its gradient in positions, and in the cell at fixed positions."""
        ...


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
    reason : "in_distribution", "converged", "steps", "contact" (no geometry found that keeps the rules) or "unchanged"
    uncertainty_before, uncertainty_after : mean over the shell
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
    values: Floats
    core_worsening: float
    core_worsening_before: float
    min_contact: float


class _Shell:
    """The moving degrees of freedom of a crop, and the objective over them.

    Variables are the displacements of the shell atoms (Å) and, if the cell moves, the change of each free component
    of the cell times a weight that makes its step comparable to one atom's.
    """

    def __init__(
        self, u: DifferentiableUncertainty, crop: Crop, rules: GeometryRules, objective: Objective, cell: bool
    ):
        self._u, self._rules, self._objective = u, rules, objective
        self._crop = crop
        self._moving = np.flatnonzero(crop.shell)
        self._start = crop.atoms.positions.copy()
        self._cell = np.asarray(crop.atoms.cell.array, dtype=float).copy()
        self._cell_basis = free_cell_components(crop) if cell else np.zeros((0, 9))
        self._atoms = crop.atoms.copy()
        self.best: tuple[float, Floats, Floats] | None = None
        self.n_evaluations = 0
        known = np.isfinite(crop.values)
        self._weights = known.astype(float) if objective == "hinge" else (known & crop.shell).astype(float)
        self._reference = np.where(np.isfinite(crop.reference), crop.reference, 1.0)
        self.n_variables = 3 * len(self._moving) + len(self._cell_basis)

    def geometry(self, x: Floats) -> tuple[Floats, Floats]:
        """Positions (n, 3) and cell (3, 3) at a point, Å."""
        n = 3 * len(self._moving)
        positions = self._start.copy()
        positions[self._moving] += x[:n].reshape(-1, 3)
        cell = self._cell + (x[n:] / CELL_WEIGHT @ self._cell_basis).reshape(3, 3)
        return positions, cell

    def __call__(self, x: Floats) -> tuple[float, Floats]:
        """Objective plus penalties, and the gradient; remembers the best allowed geometry."""
        self.n_evaluations += 1
        positions, cell = self.geometry(x)
        penalty, pen_r, pen_h, breaches = self._rules.penalty(positions, cell)
        self._atoms.set_cell(cell)
        self._atoms.set_positions(positions)
        value, by_r, by_h = self._value()
        if breaches.allowed and np.isfinite(value) and (self.best is None or value < self.best[0]):
            self.best = (value, positions, cell)
        total_r = (by_r + pen_r)[self._moving].ravel()
        total_h = self._cell_basis @ (by_h + pen_h).ravel() / CELL_WEIGHT
        return float(value + penalty), np.concatenate([total_r, total_h])

    def _value(self) -> tuple[float, Floats, Floats]:
        if self._objective == "hinge":
            return self._u.value_and_gradient(self._atoms, self._weights, self._reference)
        value, by_r, by_h = self._u.value_and_gradient(self._atoms, self._weights)
        return float(np.log(value)), by_r / value, by_h / value


def free_cell_components(crop: Crop) -> Floats:
    """Orthonormal directions (m, 9) in which the cell may change.

    Kept and vacuum vectors stand still, and free vectors do not lean into empty space (they stay perpendicular to
    what they were along a vacuum vector).
    """
    names = crop.axes
    cell = np.asarray(crop.atoms.cell.array, dtype=float)
    empty = [cell[k] for k in range(3) if names[k] == "vacuum"]
    basis = np.eye(3)
    if empty:
        q = np.linalg.qr(np.array(empty).T)[0]
        values, vectors = np.linalg.eigh(np.eye(3) - q @ q.T)
        basis = vectors[:, values > 0.5].T
    rows = []
    for k in range(3):
        if names[k] == "periodic":
            for vector in basis:
                one = np.zeros((3, 3))
                one[k] = vector
                rows.append(one.ravel())
    return np.array(rows).reshape(-1, 9)


def relax_shell(
    u: DifferentiableUncertainty,
    crop: Crop,
    max_steps: int = 100,
    cell: bool = True,
    threshold: float = 1.0,
    min_contact: float | None = None,
    objective: Objective = "hinge",
) -> Relaxed:
    """Move shell atoms and cell margins until the shell looks like what the model knows.

    The core stands still in Cartesian space, bit for bit. Shell positions and the free components of the cell move
    together along the exact gradient of the objective, by L-BFGS. Smooth penalties keep contacts, the core's sphere
    and the widths of the cell; only a geometry that keeps the hard rules can be returned, and never one that is worse
    than the start in objective, shell mean, or the core's worsening.

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
        The run ends when the shell's mean uncertainty is no higher and no core atom is worse than 1.5 times its
        reference; 1 is the in-distribution mean.
    min_contact
        Å; one limit for all pairs instead of the crop's own limits.
    objective
        "hinge": mean over all atoms of log(1 + max(0, uncertainty / reference - 1)), which also keeps core atoms from
        getting less known than they were. "mean": logarithm of the shell's mean.

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
    if objective not in ("hinge", "mean"):
        raise InputError(f"objective must be 'hinge' or 'mean', got {objective!r}")
    known = np.isfinite(crop.values)
    if not (crop.shell & known).any():
        return finish(u, crop, None, [], 0, "unchanged")
    limits = (
        crop.limits if min_contact is None else contact_limits(crop.atoms.numbers, crop.atoms.positions, min_contact)
    )
    shell = _Shell(u, crop, GeometryRules(crop, u.cutoff, limits), objective, cell)
    judge = _Judge(u, crop, shell, objective, threshold)
    ended = minimise(shell, np.zeros(shell.n_variables), max_steps, MAX_STEP, judge)
    judge.look()
    if shell.best is None:
        return finish(u, crop, None, judge.trace, shell.n_evaluations, "contact")
    reason = "in_distribution" if ended == "stopped" else ended
    return finish(u, crop, judge.kept, judge.trace, shell.n_evaluations, reason if judge.kept else "unchanged")


class _Judge:
    """Looks at the best allowed geometry now and then: is it no worse than the start, is it good enough to end.

    A geometry with a lower objective is kept only if the shell's mean did not rise, and, for the hinge, the core's
    worsening stays within 1.5 or what it was in the crop.
    """

    def __init__(
        self, u: DifferentiableUncertainty, crop: Crop, shell: _Shell, objective: Objective, threshold: float
    ) -> None:
        self._u, self._crop, self._shell, self._threshold = u, crop, shell, threshold
        self._worst = max(crop.core_worsening, ALLOWED_WORSENING) if objective == "hinge" else np.inf
        self._seen: float | None = None
        self.trace: list[float] = []
        self.kept: Atoms | None = None

    def __call__(self, step: int, value: float) -> bool:
        """Note an accepted step; True ends the run."""
        self.trace.append(value)
        return step % CHECK_EVERY == 0 and self.look()

    def look(self) -> bool:
        """Judge the best geometry so far; True if it is in distribution."""
        best = self._shell.best
        if best is None or best[0] == self._seen:
            return False
        self._seen = best[0]
        atoms = placed(self._crop, best)
        mean, worsening = shell_mean(self._crop, values := self._u(atoms)), core_worsening(self._crop, values)
        if mean > self._crop.uncertainty or worsening > self._worst:
            return False
        self.kept = atoms
        return mean <= self._threshold and worsening <= ALLOWED_WORSENING


def shell_mean(crop: Crop, values: Floats) -> float:
    """Mean of uncertainties (n,) over the shell, or over all atoms where there is none."""
    return float(values[crop.shell].mean() if crop.shell.any() else values.mean())


def core_worsening(crop: Crop, values: Floats) -> float:
    """Largest ratio of a core atom's uncertainty to its reference; species never seen (infinite) do not count."""
    known = crop.core & np.isfinite(crop.reference)
    return float(np.max(values[known] / crop.reference[known])) if known.any() else 1.0


def placed(crop: Crop, best: tuple[float, Floats, Floats]) -> Atoms:
    """Copy the crop's atoms into a new geometry."""
    atoms = crop.atoms.copy()
    atoms.set_cell(best[2])
    atoms.set_positions(best[1])
    return atoms


def finish(
    u: DifferentiableUncertainty, crop: Crop, atoms: Atoms | None, trace: list[float], spent: int, reason: str
) -> Relaxed:
    """Put the outcome together; `atoms` None returns the start."""
    values = crop.values if atoms is None else np.asarray(u(atoms), dtype=float)
    atoms = crop.atoms.copy() if atoms is None else atoms
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
        values=values,
        core_worsening=core_worsening(crop, values),
        core_worsening_before=crop.core_worsening,
        min_contact=smallest_distance(atoms),
    )
