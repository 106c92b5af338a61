"""Parameters of a network that do not learn."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from idealflow.errors import InputError
from idealflow.forcefields.message_passing.network import MessagePassingNetwork

__all__ = ["frozen"]


def frozen(network: MessagePassingNetwork, patterns: Sequence[str]) -> MessagePassingNetwork:
    """Freeze the parameters whose names fit one of the patterns, in place, and return the network.

    Raises
    ------
    InputError
        For a pattern that fits none; the message holds the first parts of the names that there are.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> network = get_force_field("m3gnet-small", species=["Cu"]).network
    >>> sum(not parameter.requires_grad for parameter in frozen(network, ["blocks.0.*"]).parameters())
    30
    >>> frozen(network, ["block.*"])
    Traceback (most recent call last):
    idealflow.errors.InputError: freeze: no parameter is called 'block.*'; there are atoms.*, blocks.*, final.*, pairs.*
    """
    if isinstance(patterns, str) or not all(isinstance(pattern, str) for pattern in patterns):
        raise InputError(f"freeze must be a list of names of parameters, such as ['*'], got {patterns!r}")
    named = dict(network.named_parameters())
    for pattern in patterns:
        found = [name for name in named if fnmatchcase(name, pattern)]
        if not found:
            there = sorted({head + (".*" if rest else "") for head, _, rest in (name.partition(".") for name in named)})
            raise InputError(f"freeze: no parameter is called {pattern!r}; there are {', '.join(there)}")
        for name in found:
            named[name].requires_grad_(False)
    return network
