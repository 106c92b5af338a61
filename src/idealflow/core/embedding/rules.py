"""The rules of a relaxation."""

from __future__ import annotations

from dataclasses import dataclass

from idealflow.core.embedding.objectives import Objective

__all__ = ["RelaxRules"]


@dataclass(frozen=True, kw_only=True)
class RelaxRules:
    """Budget, objective and goal of the relaxation of one crop.

    Parameters
    ----------
    max_steps
        Most evaluations of objective and gradient.
    cell
        Move the cell too. False moves positions alone, the paper's form.
    threshold
        The run ends when the shell's mean uncertainty is no higher and no core atom is less known than twice its reference; 1
        is the mean in distribution.
    min_contact
        Smallest distance between two atoms, Å, for all pairs of species. None: the crop's own limits.
    objective
        "frame-hinge", "hinge", "log-hinge" or "mean": see :mod:`idealflow.core.embedding.objectives`.

    Examples
    --------
    The relaxation as the paper does it:

    >>> RelaxRules(cell=False, objective="mean")
    RelaxRules(max_steps=300, cell=False, threshold=1.0, min_contact=None, objective='mean')
    """

    max_steps: int = 300
    cell: bool = True
    threshold: float = 1.0
    min_contact: float | None = None
    objective: Objective = "frame-hinge"
