"""One environment, several crops: where the relaxation of one stalls, the next is tried, and the best is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from idealflow.core.cropping.crop import Crop
from idealflow.core.embedding.objectives import Objective
from idealflow.core.embedding.relax import MOST_WORSENING, Relaxed, relax_shell
from idealflow.core.protocols import Uncertainty
from idealflow.errors import InputError

__all__ = ["GOOD_ENOUGH", "Embedded", "embed"]

#: mean ratio of a shell's uncertainty to the level asked for, from which on no other crop is tried
GOOD_ENOUGH = 2.0


@dataclass(frozen=True)
class Embedded:
    """A relaxed crop, and which of the crops it was.

    Attributes
    ----------
    index : place of the crop in the search's order
    crop : where it started
    relaxed : where it ended
    """

    index: int
    crop: Crop
    relaxed: Relaxed

    @property
    def good(self) -> bool:
        """True if the shell is known well enough, the core not less known than allowed."""
        relaxed = self.relaxed
        return relaxed.shell_ratio <= GOOD_ENOUGH and relaxed.core_worsening <= MOST_WORSENING


def embed(
    u: Uncertainty,
    crops: Sequence[Crop],
    max_crops: int = 3,
    max_steps: int = 300,
    cell: bool = True,
    objective: Objective = "frame-hinge",
    n_wanted: int = 1,
) -> list[Embedded]:
    """Relax crops in their order until one is good, at most `max_crops` of them.

    A crop is good when its shell's uncertainty is on average at most twice the level that the objective asks for (1, or what it
    was in the frame), and no core atom is less known than twice its reference.

    Parameters
    ----------
    u
        Uncertainty model.
    crops
        Of one centre, best first, as :func:`~idealflow.core.cropping.crop_search` returns them.
    max_crops
        Most crops to relax.
    max_steps, cell, objective
        Of each relaxation; see :func:`~idealflow.core.embedding.relax.relax_shell`.
    n_wanted
        How many substructures are asked for, second choices included. The crops that were not needed follow in their own
        order, so that a longer list begins with the shorter one.

    Returns
    -------
    list
        All that were relaxed, best first: those that keep the core as known as it was before others, then by the shell's
        mean ratio; then the unneeded ones.

    Raises
    ------
    InputError
        If there is no crop, or `max_crops` is not positive.
    """
    if len(crops) == 0 or max_crops < 1:
        raise InputError(
            f"embedding needs at least one crop and max_crops of at least 1, got {len(crops)} and {max_crops}"
        )

    def relaxed(index: int) -> Embedded:
        crop = crops[index]
        return Embedded(index, crop, relax_shell(u, crop, max_steps=max_steps, cell=cell, objective=objective))

    tried: list[Embedded] = []
    for index in range(min(max_crops, len(crops))):
        tried.append(relaxed(index))
        if tried[-1].good:
            break
    order = sorted(
        tried,
        key=lambda one: (
            max(0.0, one.relaxed.core_worsening - MOST_WORSENING),
            one.relaxed.shell_ratio,
            one.index,
        ),
    )
    return order + [relaxed(index) for index in range(len(tried), min(n_wanted, len(crops)))]
