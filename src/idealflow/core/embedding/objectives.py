"""What a relaxation lowers: one number made of all atoms' uncertainties, and its slope in each of them.

A hinge asks of every atom to be no less known than it should be. Core atoms stand still but their surroundings move: their
level is max(1, their uncertainty in the frame). So it is for shell atoms by default; a frame's own environments need no cure,
however new they are, only those that the seam broke do. With e = max(0, u / level − 1), the excess of one atom:

* ``"frame-hinge"``: log(1 + mean of 2 (√(1 + e) − 1)), core atoms with three times the weight of shell atoms;
* ``"hinge"``: the same, but the level of shell atoms is 1, the mean of the distribution;
* ``"log-hinge"``: levels as for ``"hinge"``, mean of log(1 + e), which all but gives up on the worst atoms;
* ``"mean"``: log of the shell's mean uncertainty, the paper's objective (its logarithm has the same minima).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.crop import Crop
from idealflow.errors import InputError

__all__ = ["Objective", "ShellObjective", "check_objective"]

Objective = Literal["frame-hinge", "hinge", "log-hinge", "mean"]

CORE_WEIGHT = 3.0

Floats = NDArray[np.float64]


def check_objective(name: str) -> None:
    """Refuse an unknown objective.

    Raises
    ------
    InputError
        With the names there are.
    """
    if name not in get_args(Objective):
        raise InputError(f"objective must be one of {', '.join(get_args(Objective))}, got {name!r}")


class ShellObjective:
    """The objective of one crop.

    Atoms whose uncertainty is infinite in the crop (species never seen, or known from too few environments) do not count; where
    another one's becomes infinite, so does the objective.

    Parameters
    ----------
    crop
        Where the relaxation starts; gives core, shell and levels.
    name
        See the module.
    """

    def __init__(self, crop: Crop, name: Objective) -> None:
        check_objective(name)
        self.name = name
        self._core = crop.core
        self._known = np.isfinite(crop.values)
        level = crop.in_frame if name == "frame-hinge" else crop.reference
        self._level = np.where(np.isfinite(level), level, 1.0)
        self.core_weight = CORE_WEIGHT if name in ("frame-hinge", "hinge") else 1.0

    def shell_ratio(self, values: Floats) -> float:
        """Mean over the shell (over all atoms where there is none) of uncertainty over level; `values` (n,)."""
        return float((values / self._level)[~self._core if not self._core.all() else self._core].mean())

    def __call__(self, values: Floats) -> tuple[float, Floats]:
        """Value of the objective, and its slope (n,) in each atom's uncertainty; `values` (n,)."""
        if not np.isfinite(values[self._known]).all():  # a step away from the few environments that are known
            return np.inf, np.zeros(len(values))
        counted = self._known & ~self._core if self.name == "mean" else self._known
        weights = np.where(counted, np.where(self._core, self.core_weight, 1.0), 0.0)
        weights /= weights.sum()
        u = np.where(self._known, values, 1.0)
        if self.name == "mean":
            mean = float(weights @ u)
            return float(np.log(mean)), weights / mean
        excess = np.maximum(0.0, u / self._level - 1.0)
        if self.name == "log-hinge":
            slope = 1.0 / ((1.0 + excess) * self._level)
            return float(weights @ np.log1p(excess)), np.where(excess > 0.0, weights * slope, 0.0)
        root = np.sqrt(1.0 + excess)
        mean = float(weights @ (2.0 * (root - 1.0)))
        return float(np.log1p(mean)), np.where(excess > 0.0, weights / (root * self._level), 0.0) / (1.0 + mean)
