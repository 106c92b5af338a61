"""What follows a round: further rounds in the same flow, as many as a call runs, or a flow that a driver takes.

A driver that submits flows elsewhere, such as the one of FireWorks, says so with :func:`register`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol

from idealflow.errors import InputError

if TYPE_CHECKING:
    from jobflow import Flow

__all__ = ["FollowUp", "Submitted", "check_budget", "check_rounds", "follow_up", "register", "rounds_of_a_flow"]

#: rounds that a flow adds to itself where nobody says how many, and at most: run_locally calls itself for each
_USUAL, _DEEPEST = 20, 100

#: ``already``: the flow was submitted before. ``held``: the campaign is to pause, and nothing was submitted
Submitted = Literal["submitted", "already", "held"]


class FollowUp(Protocol):
    """Submits a flow exactly once, however often it is called with the same campaign and number.

    Examples
    --------
    >>> def by_mail(flow, *, campaign, number, settings, launchpad):
    ...     return "submitted"
    >>> register("mail", by_mail)
    >>> follow_up("mail")(None, campaign="copper", number=1, settings="2-0123", launchpad=None)
    'submitted'
    >>> del _drivers["mail"]
    """

    def __call__(self, flow: Flow, *, campaign: str, number: int, settings: str, launchpad: str | None) -> Submitted:
        """Submit ``flow``, the ``number``-th action of ``campaign``; ``settings`` is the key of the campaign's settings."""


_drivers: dict[str, FollowUp] = {}


def register(continuation: str, submit: FollowUp) -> None:
    """Let a driver take the flows of campaigns with this ``continuation``.

    Examples
    --------
    >>> register("nowhere", lambda flow, *, campaign, number, settings, launchpad: "held")
    >>> del _drivers["nowhere"]
    """
    _drivers[continuation] = submit


def follow_up(continuation: str) -> FollowUp:
    """The driver that takes the flows of a continuation.

    Raises
    ------
    InputError
        If no driver has registered for it.

    Examples
    --------
    >>> import idealflow.workflow  # registers FireWorks
    >>> callable(follow_up("launchpad"))
    True
    """
    if continuation not in _drivers:
        known = ", ".join(["return", *sorted(_drivers)])
        raise InputError(f"continuation must be one of {known}, got {continuation!r}")
    return _drivers[continuation]


def rounds_of_a_flow(max_rounds: int | None) -> int:
    """Rounds that one flow adds to itself at most: those asked for, else 20.

    Examples
    --------
    >>> rounds_of_a_flow(None), rounds_of_a_flow(5)
    (20, 5)
    """
    return max_rounds or _USUAL


def check_budget(budget: Mapping[Literal["label_core_hours"], float]) -> None:
    """Refuse a budget where nobody would keep to it: in a flow, whoever runs it.

    Raises
    ------
    InputError
        For any budget.

    Examples
    --------
    >>> check_budget({})
    >>> check_budget({"label_core_hours": 100.0})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: budget.label_core_hours = 100 is kept by `idealflow run` and run_campaign, and nobody would ...
    """
    for name, value in budget.items():
        raise InputError(
            f"budget.{name} = {value:g} is kept by `idealflow run` and run_campaign, and nobody would keep it in a flow or on a "
            "launchpad; leave it out, and bound the run with max_failed_labels, max_rounds or `idealflow pause`"
        )


def check_rounds(continuation: str | None, max_rounds: int | None) -> None:
    """Refuse a number of rounds that whoever runs the flow could not keep to.

    Raises
    ------
    InputError
        For any number on a launchpad, for less than one, and for more than ``run_locally`` can nest.

    Examples
    --------
    >>> check_rounds("return", 20)
    >>> check_rounds("return", 500)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: max_rounds may be at most 100 in a flow, since run_locally nests its rounds, got 500; ...
    """
    if max_rounds is None:
        return
    if max_rounds < 1:
        raise InputError(f"max_rounds must be at least 1, got {max_rounds}; leave it out for all rounds that there are")
    if continuation == "launchpad":
        raise InputError(
            f"max_rounds = {max_rounds} is for calls on this machine, and a campaign on a launchpad has none; leave it out, "
            "and stop the campaign with `idealflow pause`"
        )
    if max_rounds > _DEEPEST:
        raise InputError(
            f"max_rounds may be at most {_DEEPEST} in a flow, since run_locally nests its rounds, got {max_rounds}; lower it and "
            "call again, or use run_campaign, which has no limit"
        )
