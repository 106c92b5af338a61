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


def with_single_rules(function: str, single: Mapping[str, Any], *rules: Any) -> tuple[Any, ...]:
    """Change single fields of rule objects.

    Parameters
    ----------
    function
        Name of the function that was called, for the message.
    single
        New values by name of the field.
    rules
        Frozen dataclasses; no two of them have a field of the same name.

    Returns
    -------
    tuple
        The rule objects in their order, each with its own fields of ``single`` replaced.

    Raises
    ------
    InputError
        If none of them has such a field.

    Examples
    --------
    >>> from idealflow.core.dynamics import Limits
    >>> with_single_rules("md_segment", {"max_force": 50.0}, Limits())
    (Limits(max_force=50.0, max_temperature=10000.0),)
    """
    names = [[entry.name for entry in fields(one)] for one in rules]
    known = [name for own in names for name in own]
    for name in single:
        if name not in known:
            raise InputError(
                f"{function} has no rule {name!r}{did_you_mean(name, known)}; its rules are {', '.join(known)}"
            )
    return tuple(
        replace(one, **{name: value for name, value in single.items() if name in own})
        for one, own in zip(rules, names, strict=True)
    )
