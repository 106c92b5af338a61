"""The core-hours that a campaign's labels may take."""

from __future__ import annotations

from idealflow.provenance import Campaign

__all__ = ["LabelBudget"]


class LabelBudget:
    """Compares what a campaign's labels have taken with what they may take.

    Parameters
    ----------
    campaign
        The campaign; its stored labels are counted, those that failed too, and none twice.
    core_hours
        The budget, h. Labels that are under way when it is used up are finished, so that the sum may be larger in the end.

    number
        The round that is under way.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> LabelBudget(sample_campaign(), core_hours=2.0, number=8).spent
    False
    """

    def __init__(self, campaign: Campaign, core_hours: float, number: int) -> None:
        self._campaign, self._core_hours, self._round = campaign, core_hours, number
        self._before = campaign.label_core_seconds({"$lt": number})
        self.look()

    @property
    def spent(self) -> bool:
        """Whether it is used up."""
        return self._seconds >= 3600.0 * self._core_hours

    def begin(self, number: int) -> None:
        """Take in that a round begins: labels of those before it are not counted anew."""
        self.look()
        self._round, self._before = number, self._seconds

    def look(self) -> None:
        """Count the labels that have been stored since."""
        self._seconds = self._before + self._campaign.label_core_seconds({"$gte": self._round})

    def told(self) -> str:
        """Say that it is used up, and how to go on.

        Examples
        --------
        >>> from idealflow.provenance import sample_campaign
        >>> LabelBudget(sample_campaign(), core_hours=1e-9, number=8).told()  # doctest: +ELLIPSIS
        'labels have taken ... core-hours, and budget.label_core_hours is 1e-09; raise it, and the same command goes on from here'
        """
        return (
            f"labels have taken {self._seconds / 3600.0:.4g} core-hours, and budget.label_core_hours is {self._core_hours:g}; "
            "raise it, and the same command goes on from here"
        )
