"""Checking settings against type annotations, so that a wrong type is refused, by the setting's name, before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from idealflow.errors import InputError

__all__ = ["check_settings", "check_types", "is_number", "is_whole"]

#: types that are checked, and what messages call each
_NAMES: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    NoneType: "null",
}


def is_number(value: object) -> bool:
    """Whether a value is a finite real number that fits into a float; ``True`` and ``False`` do not count as numbers.

    Examples
    --------
    >>> [is_number(value) for value in (3, 2.5, np.float32(1), True, "3", float("nan"), 10**400)]
    [True, True, True, False, False, False, False]
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number of more than 308 digits
        return False


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, written as an integer (6) or as a float (6.0).

    Examples
    --------
    >>> [is_whole(value) for value in (6, 6.0, 6.5, True)]
    [True, True, False, False]
    """
    return is_number(value) and value == int(value)  # type: ignore[call-overload]  # a Real converts


def check_settings(kind: type, settings: Mapping[str, Any]) -> None:
    """Refuse settings of a dataclass that do not fit the annotations of its fields.

    Fields annotated as a number, truth value, text, mapping or None, or as a union of these, are checked. Other fields are left
    to the class itself, and so are all fields of a class whose annotations cannot be resolved at run time.

    Parameters
    ----------
    kind
        Dataclass.
    settings
        Values by field name; other names are ignored.

    Raises
    ------
    InputError
        The message names the setting, the accepted types and the value; for a value None also the default.

    Examples
    --------
    >>> from idealflow.core.dynamics.samplers import NVESampler
    >>> check_settings(NVESampler, {"timestep": 2})
    >>> check_settings(NVESampler, {"timestep": "2"})
    Traceback (most recent call last):
    idealflow.errors.InputError: `timestep` must be a number or null, got '2'
    """
    try:
        types = get_type_hints(kind)
    except NameError:  # names that only a type checker imports
        return
    defaults = {entry.name: entry.default for entry in fields(kind) if entry.default is not MISSING}
    check_types(types, settings, defaults)


def check_types(
    types: Mapping[str, Any], settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> None:
    """Refuse settings that do not fit their annotations, as :func:`check_settings` does for a dataclass.

    Parameters
    ----------
    types
        Annotation of each setting, by name; settings without one are not checked.
    settings
        Values by name.
    defaults
        Default of each setting, by name, for messages.

    Raises
    ------
    InputError
        As :func:`check_settings`.

    Examples
    --------
    >>> check_types({"steps": int}, {"steps": None}, {"steps": 100})
    Traceback (most recent call last):
    idealflow.errors.InputError: `steps` must be a whole number, got None; leave it out for the default, 100
    """
    for name, value in settings.items():
        accepted = _accepted(types.get(name, Any))
        if accepted is None or any(_is_a(value, each) for each in accepted):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"`{name}` must be finite, got {value}")
        remedy = ""
        if value is None and defaults and name in defaults:
            remedy = f"; leave it out for the default, {defaults[name]!r}"
        raise InputError(f"`{name}` must be {' or '.join(_NAMES[each] for each in accepted)}, got {value!r}{remedy}")


def _accepted(annotation: Any) -> list[Any] | None:
    """The types that an annotation allows; None if one of them is not among those that are checked."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    plain = [get_origin(member) or member for member in members]
    return plain if all(isinstance(member, type) and member in _NAMES for member in plain) else None


def _is_a(value: object, kind: Any) -> bool:
    if kind is float:
        return is_number(value)
    if kind is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    return isinstance(value, kind)
