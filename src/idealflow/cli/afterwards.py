"""What a campaign does after its dynamics, and how long that takes, from what was measured in it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from idealflow.schemas import CampaignState
from idealflow.workflow.check.costs import LabelCosts
from idealflow.workflow.stages.consolidate import LAST

if TYPE_CHECKING:
    from idealflow.provenance import Campaign

__all__ = ["Afterwards"]


class Afterwards:
    """The time from the end of the schedule to the end of the campaign: the last consolidation, and the labels of whole frames.

    A whole frame's label is expected to take what the campaign's labels so far took, extrapolated by a power of the number
    of atoms; where too few sizes were labelled for that, as it would with linear growth at least.

    Parameters
    ----------
    campaign
        The campaign; its labels are read once, each round's when it is committed.
    side_by_side
        Labels of whole frames that are computed at the same time.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> afterwards, state = Afterwards(campaign, side_by_side=2), campaign.state()
    >>> afterwards.seconds(state)  # it is finished
    0.0
    >>> afterwards.seconds(state.model_copy(update={"evaluated": False})) > 0
    True
    """

    def __init__(self, campaign: Campaign, side_by_side: int = 1) -> None:
        self._campaign, self._side_by_side = campaign, side_by_side
        self._read = 0  # rounds
        self._sizes: list[int] = []
        self._times: list[float] = []
        self._consolidation = 0.0

    def seconds(self, state: CampaignState) -> float | None:
        """Time to expect, s; None where no label of the campaign tells what a whole frame takes.

        Parameters
        ----------
        state
            Where the campaign stands; what was committed since the last call is read.
        """
        self._look(state)
        total = 0.0
        # once the schedule is done it is under way, and shows its steps
        if state.consolidate_every and any(not walker.finished for walker in state.walkers):
            total += LAST * self._consolidation
        if not state.evaluation_frames or state.evaluated:
            return total
        each = self._whole_frame(state.n_atoms)
        return None if each is None else total + each * math.ceil(state.evaluation_frames / self._side_by_side)

    def _whole_frame(self, n_atoms: int) -> float | None:
        if not self._times:
            return None
        expected = LabelCosts(self._sizes, self._times).at(n_atoms)
        return None if expected is None else expected[0]

    def _look(self, state: CampaignState) -> None:
        """Read the labels and consolidations of rounds that were not read yet."""
        rounds: Any = {"$gte": self._read, "$lt": state.round}
        if self._read < state.round:
            for kind in ("label", "substructure"):
                names = ["n_atoms", "seconds", "reused_from"]
                for each in self._campaign.outputs(kind, names, state="accepted", round=rounds):
                    if each["seconds"] and not each.get("reused_from"):
                        self._sizes.append(each["n_atoms"])
                        self._times.append(each["seconds"])
            for each in self._campaign.outputs("consolidation", ["seconds", "steps"], round=rounds):
                self._consolidation = each["seconds"] if each["steps"] else self._consolidation
            self._read = state.round
