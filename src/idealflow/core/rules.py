"""Rule objects: what functions take in place of ten arguments.

A rule object is a frozen dataclass of settings that belong together. A function that takes some also takes each of their fields
as a keyword of its own, so that one rule can be changed without naming the object. Defaults stand in the dataclass alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from idealflow.errors import InputError, did_you_mean

__all__ = ["with_single_rules"]


def with_single_rules(function: str, single: Mapping[str, Any], *rules: tuple[Any, type]) -> tuple[Any, ...]:
    """Change single fields of rule objects.

    Parameters
    ----------
    function
        Name of the function that was called, for the message.
    single
        New values by name of the field.
    rules
        Pairs of a rule object, or None for its defaults, and its class, a frozen dataclass; no two of them have a field of the
        same name.

    Returns
    -------
    tuple
        The rule objects in their order, each with its own fields of ``single`` replaced.

    Raises
    ------
    InputError
        If none of them has such a field, or one of them is no rule object.

    Examples
    --------
    >>> from idealflow.core.dynamics import Limits
    >>> with_single_rules("md_segment", {"max_force": 50.0}, (None, Limits))
    (Limits(max_force=50.0, max_temperature=10000.0, max_kinetic_energy=inf),)
    """
    for one, kind in rules:
        if not (one is None or isinstance(one, kind)):
            raise InputError(
                f"{function} takes the rule object {kind.__name__}(...), got {one!r}; or give single rules by keyword"
            )
    objects = [kind() if one is None else one for one, kind in rules]
    names = [[entry.name for entry in fields(one)] for one in objects]
    known = [name for own in names for name in own]
    for name in single:
        if name not in known:
            raise InputError(
                f"{function} has no rule {name!r}{did_you_mean(name, known)}; its rules are {', '.join(known)}"
            )
    return tuple(
        replace(one, **{name: value for name, value in single.items() if name in own})
        for one, own in zip(objects, names, strict=True)
    )
