"""Several crops of one environment: if the relaxation of one stalls, the next is tried, and the best is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from idealflow.core.cropping.crop import Crop
from idealflow.core.embedding.relax import MOST_WORSENING, Relaxed, relax_shell
from idealflow.core.embedding.rules import RelaxRules
from idealflow.core.protocols import Uncertainty
from idealflow.core.rules import with_single_rules
from idealflow.errors import InputError

__all__ = ["GOOD_ENOUGH", "Embedded", "embed"]

#: a shell whose uncertainty is on average at most this many times the level asked for needs no other crop
GOOD_ENOUGH = 2.0
#: the same for a cell with vacuum: candidates there differ more, and another one is often better
GOOD_SURFACE = 1.5


@dataclass(frozen=True)
class Embedded:
    """One crop and its relaxation, as :func:`embed` returns them.

    Attributes
    ----------
    index : place of the crop in the search's order, 0 for the best
    crop : the crop as it was cut
    relaxed : the same after its relaxation

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
    >>> tried = embed(u, [crop], max_steps=3)
    >>> tried[0].index, isinstance(tried[0].good, bool)
    (0, True)
    """

    index: int
    crop: Crop
    relaxed: Relaxed

    @property
    def good(self) -> bool:
        """True if the shell is on average at most twice (with vacuum 1.5 times) as uncertain as asked for, the core kept."""
        relaxed = self.relaxed
        enough = GOOD_SURFACE if "vacuum" in self.crop.axes else GOOD_ENOUGH
        return relaxed.shell_ratio <= enough and relaxed.core_worsening <= MOST_WORSENING


def embed(
    u: Uncertainty,
    crops: Sequence[Crop],
    *,
    max_crops: int = 3,
    n_wanted: int = 1,
    rules: RelaxRules | None = None,
    **single: Any,
) -> list[Embedded]:
    """Relax the crops of one centre in their order until one is good, at most ``max_crops`` of them.

    A crop is good when its shell's uncertainty is on average at most twice the level that the objective asks for (1, or what it
    was in the frame; 1.5 times in a cell with vacuum), and no core atom is less known than twice its reference. If after
    ``max_crops`` of them every one has such a core atom, further crops with more atoms than those are tried, until one has none.

    Parameters
    ----------
    u
        The uncertainty, with its gradient.
    crops
        Crops of one centre, best first, as :func:`~idealflow.core.cropping.crop_search` returns them.
    max_crops
        Most crops to relax in search of a good one.
    n_wanted
        How many substructures the caller needs, second choices included. If fewer crops than that were relaxed, the next ones
        follow in their own order: a longer list begins with the shorter one.
    rules
        Rules of each relaxation. None: ``RelaxRules()``.
    **single
        Single fields of ``rules`` by name, as in ``max_steps=100``.

    Returns
    -------
    list
        All that were relaxed, best first: crops that keep the core as known as it was come before others, then those with the
        lower mean ratio of the shell. Those relaxed for ``n_wanted`` alone come last.

    Raises
    ------
    InputError
        If there is no crop, ``max_crops`` is below 1, or a rule is unknown or impossible.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel, crop_search
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> frame.rattle(0.1, seed=2)
    >>> crops = crop_search(u, frame, 99, n_candidates=5, max_atoms=150)
    >>> tried = embed(u, crops, max_crops=2, max_steps=3)
    >>> 1 <= len(tried) <= 2 and tried[0].crop is crops[tried[0].index]
    True
    """
    (rules,) = with_single_rules("embed", single, (rules, RelaxRules))
    if len(crops) == 0 or max_crops < 1:
        raise InputError(
            f"embedding needs at least one crop and max_crops of at least 1, got {len(crops)} and {max_crops}"
        )

    def relaxed(index: int) -> Embedded:
        crop = crops[index]
        return Embedded(index, crop, relax_shell(u, crop, rules=rules))

    tried: list[Embedded] = []
    for index in range(min(max_crops, len(crops))):
        tried.append(relaxed(index))
        if tried[-1].good:
            break
    # a core that a cell does not hold is not what was met; a larger cell may hold it
    for index in range(len(tried), len(crops)):
        if min(one.relaxed.core_worsening for one in tried) <= MOST_WORSENING or tried[-1].index < max_crops - 1:
            break
        if len(crops[index].atoms) > max(len(one.crop.atoms) for one in tried):
            tried.append(relaxed(index))
    order = sorted(
        tried,
        key=lambda one: (
            max(0.0, one.relaxed.core_worsening - MOST_WORSENING),
            one.relaxed.shell_ratio,
            one.index,
        ),
    )
    done = {one.index for one in tried}
    rest = [index for index in range(len(crops)) if index not in done]
    return order + [relaxed(index) for index in rest[: max(0, n_wanted - len(tried))]]
