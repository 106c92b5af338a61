"""The setting ``rattle``: the range of random displacements, a pair of numbers in Å."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from idealflow.core.setting_types import is_number
from idealflow.errors import InputError

__all__ = ["Rattle", "check_rattle"]

_RULE = "must be a pair [lowest, highest] of standard deviations in Å, e.g. [0.02, 0.2]"


def check_rattle(value: Any) -> None:
    """Refuse a value of ``rattle`` that is no pair of numbers in Å, 0 <= lowest <= highest.

    Raises
    ------
    InputError
        Names the rule and the value.

    Examples
    --------
    >>> check_rattle([0.02, 0.2])
    >>> check_rattle(0.2)
    Traceback (most recent call last):
    idealflow.errors.InputError: rattle must be a pair [lowest, highest] of standard deviations in Å, e.g. [0.02, 0.2], got 0.2
    """
    if not _is_pair(value):
        raise InputError(f"rattle {_RULE}, got {value!r}")
    low, high = value
    if not 0 <= low <= high:
        raise InputError(f"rattle must be two numbers in Å, 0 <= lowest <= highest, got {list(value)}")


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(is_number(entry) for entry in value)


def _pair(value: Any) -> Any:
    """Return the value unchanged, or raise pydantic's error if it is no pair of numbers."""
    if not _is_pair(value):
        raise PydanticCustomError("pair", _RULE)
    return value


#: a pair of numbers in a config
Rattle = Annotated[tuple[float, float], BeforeValidator(_pair)]
