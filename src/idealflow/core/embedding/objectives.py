"""What a relaxation lowers: one number made from the uncertainties of all atoms, and its derivative in each of them.

A hinge counts only how far an atom's uncertainty u exceeds its level. Core atoms stand still but their surroundings move:
their level is max(1, their uncertainty in the frame). By default shell atoms have the same: environments that the frame has
need no cure, however new they are; those that the boundary broke do. With the excess of one atom e = max(0, u / level − 1),
the objectives are


* ``"frame-hinge"``: log(1 + mean of 2 (√(1 + e) − 1)), core atoms with three times the weight of shell atoms;
* ``"hinge"``: the same, but the level of shell atoms is 1, the mean in distribution;
* ``"log-hinge"``: levels as for ``"hinge"``, mean of log(1 + e), to which the worst atoms hardly matter;
* ``"mean"``: log of the shell's mean uncertainty. The paper's objective is the mean itself, which has the same minima.

The formula and the measurements behind it are in docs/explanation/method.md, "The relaxation of the shell".
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.crop import Crop
from idealflow.errors import InputError

__all__ = ["Objective", "ShellObjective", "check_objective"]

#: names of the objectives
Objective = Literal["frame-hinge", "hinge", "log-hinge", "mean"]

CORE_WEIGHT = 3.0

Floats = NDArray[np.float64]


def check_objective(name: str) -> None:
    """Refuse an unknown objective.

    Raises
    ------
    InputError
        Listing the known ones.

    Examples
    --------
    >>> check_objective("frame-hinge")
    """
    if name not in get_args(Objective):
        raise InputError(f"objective must be one of {', '.join(get_args(Objective))}, got {name!r}")


class ShellObjective:
    """The objective of one crop, a function of the uncertainties of its atoms.

    Atoms whose uncertainty is infinite in the crop (species never seen, or seen in too few environments) do not count. If the
    uncertainty of any other atom becomes infinite, so does the objective.

    Parameters
    ----------
    crop
        Where the relaxation starts; gives core, shell and levels.
    name
        One of :data:`Objective`.

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
    >>> hinge = ShellObjective(crop, "frame-hinge")
    >>> value, slopes = hinge(crop.in_frame)  # nothing is above its level
    >>> value, slopes.shape == (len(crop.atoms),)
    (0.0, True)
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
        """Mean ratio of uncertainty, ``values`` (n,), to level over the shell (over all atoms if there is no shell)."""
        return float((values / self._level)[~self._core if not self._core.all() else self._core].mean())

    def __call__(self, values: Floats) -> tuple[float, Floats]:
        """Value of the objective, and its derivative (n,) in each atom's uncertainty; ``values`` (n,) are the uncertainties."""
        if not np.isfinite(values[self._known]).all():  # a step left the few environments that are known
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
