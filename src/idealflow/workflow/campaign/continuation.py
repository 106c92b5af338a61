"""Who takes the flow that follows a round, where it is not added to the running one: a driver, which says so here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from idealflow.errors import InputError

if TYPE_CHECKING:
    from jobflow import Flow

__all__ = ["FollowUp", "Submitted", "follow_up", "register"]

#: ``already``: the flow was submitted before; ``held``: the campaign pauses, nothing was submitted
Submitted = Literal["submitted", "already", "held"]


class FollowUp(Protocol):
    """Submits a flow exactly once, however often it is called with the same campaign and number."""

    def __call__(self, flow: Flow, *, campaign: str, number: int, settings: str, launchpad: str | None) -> Submitted:
        """Submit ``flow``, the ``number``-th action of ``campaign``; ``settings`` is their key."""


_drivers: dict[str, FollowUp] = {}


def register(continuation: str, submit: FollowUp) -> None:
    """Let a driver take the flows of campaigns with this ``continuation``."""
    _drivers[continuation] = submit


def follow_up(continuation: str) -> FollowUp:
    """The driver that takes the flows of a continuation.

    Raises
    ------
    InputError
        If no driver has registered for it.
    """
    if continuation not in _drivers:
        known = ", ".join(["return", *sorted(_drivers)])
        raise InputError(f"continuation must be one of {known}, got {continuation!r}")
    return _drivers[continuation]
