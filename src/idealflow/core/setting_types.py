"""Settings against their annotations: a wrong type is refused by name before anything is computed."""

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

#: types that are checked, and what each is called
_NAMES: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    NoneType: "null",
}


def is_number(value: object) -> bool:
    """Whether a value is a real number that a float can hold, so a finite one; true and false are none."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number of more than 308 digits
        return False


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, as such or as a float (6.0)."""
    return is_number(value) and value == int(value)  # type: ignore[call-overload]  # a Real converts


def check_settings(kind: type, settings: Mapping[str, Any]) -> None:
    """Refuse settings of a dataclass that do not fit the annotations of its fields.

    Annotations of numbers, truth values, text, mappings and None, and unions of these, are checked; others are the class's own
    affair, as are all of a class whose annotations cannot be resolved where it stands.

    Raises
    ------
    InputError
        Naming the setting, what it has to be, its value, and its default where it was given none.
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
    """Refuse settings that do not fit ``types``, annotations by name; as :func:`check_settings`."""
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
    """The types that an annotation allows, all of them checked ones; None where it allows others."""
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
