"""What training must not do to a force field's errors, energies and forces each by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Guard", "judged"]

#: smaller errors count as these: of energies on new labels, which are few, and in a consolidation, eV/atom; of forces, eV/Å
_LEAST_ENERGY, _LEAST_FORCES = 2e-3, 1e-3

#: errors that count as none where two models are compared: eV/atom, eV/Å
_NOTHING = np.array([2e-4, 1e-3])

_GROWTH = 1.2  # of force errors on what was kept out of training, by a consolidation that stays


@dataclass(frozen=True)
class Guard:
    """Bounds on how errors may grow in training.

    Attributes
    ----------
    forces
        Largest growth of the mean force error on the validation set, as a factor. It may always become as large as that of the
        new labels, not larger: what was known need not be known better than what is new.
    energy
        Largest growth of the mean energy error on the validation set, as a factor.
    energy_floor
        eV/atom: a smaller mean energy error on the validation set is noise, and counts as this where its growth is judged.

    Examples
    --------
    Forces hardly change, while the energies of what was known are off by 20 meV/atom afterwards:

    >>> new = np.array([[0.010, 0.1, 0.0]])
    >>> print(Guard().objection(new, new, np.array([[0.001, 0.05, 0.0]]), np.array([[0.020, 0.05, 0.0]])))
    the energy error on held-out structures grew from 0.0010 to 0.0200 eV/atom, more than energy_reject_factor = 2 allows
    """

    forces: float = 3.0
    energy: float = 2.0
    energy_floor: float = 2e-4

    def objection(
        self, new_before: np.ndarray, new_after: np.ndarray, validation_before: np.ndarray, validation_after: np.ndarray
    ) -> str | None:
        """Why a trained force field must not stay, or None; all errors are (n, 3), n of the validation set may be 0."""
        if not all(np.isfinite(errors[:, :2]).all() for errors in (validation_after, new_after)):
            return "the updated force field gives errors that are not finite"
        fresh = (new_before[:, :2].mean(axis=0), new_after[:, :2].mean(axis=0))
        if len(validation_after):
            before, after = validation_before[:, :2].mean(axis=0), validation_after[:, :2].mean(axis=0)
            if after[1] > max(self.forces * max(before[1], _LEAST_FORCES), fresh[1][1]):
                return _grown("force", before[1], after[1], "eV/Å", f"reject_factor = {self.forces:g}")
            if after[0] > self.energy * max(before[0], self.energy_floor):
                return _grown("energy", before[0], after[0], "eV/atom", f"energy_reject_factor = {self.energy:g}")
        if fresh[1][1] > self.forces * max(fresh[0][1], _LEAST_FORCES):
            return f"the force error on the new labels grew from {fresh[0][1]:.4f} to {fresh[1][1]:.4f} eV/Å"
        if fresh[1][0] > self.forces * max(fresh[0][0], _LEAST_ENERGY):
            return f"the energy error on the new labels grew from {fresh[0][0]:.4f} to {fresh[1][0]:.4f} eV/atom"
        return None


def _grown(what: str, before: float, after: float, unit: str, rule: str) -> str:
    return (
        f"the {what} error on held-out structures grew from {before:.4f} to {after:.4f} {unit}, more than {rule} allows"
    )


def judged(before: np.ndarray, after: np.ndarray, held_out: NDArray[np.bool_]) -> tuple[bool, str]:
    """Whether a consolidation helped, and how much, by the errors (n, 3) of all structures, some of them kept out of training.

    Over all structures the product of mean energy and force error must fall. On those that were kept out, forces may become at
    most a fifth worse, and energies at most twice as bad.

    Examples
    --------
    >>> before, after = np.array([[0.004, 0.10, 0.0]] * 3), np.array([[0.002, 0.09, 0.0]] * 3)
    >>> judged(before, after, np.array([True, False, False]))
    (True, 'errors of all data are 0.52 (energy) and 0.90 (forces) of what they were')
    """
    if not np.isfinite(after[:, :2]).all():
        return False, "the force field gives errors that are not finite"
    if held_out.any():
        nothing = np.zeros((1, 3))
        objection = Guard(forces=_GROWTH, energy_floor=_LEAST_ENERGY).objection(
            nothing, nothing, before[held_out], after[held_out]
        )
        if objection is not None:
            return False, objection.partition(", more than")[0]
    energy, forces = (after[:, :2].mean(axis=0) + _NOTHING) / (before[:, :2].mean(axis=0) + _NOTHING)
    return bool(
        energy * forces < 1.0
    ), f"errors of all data are {energy:.2f} (energy) and {forces:.2f} (forces) of what they were"
