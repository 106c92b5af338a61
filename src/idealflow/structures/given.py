"""Checks of what builders are given, and of the elements in it."""

from __future__ import annotations

from typing import Any

from ase.data import atomic_numbers
from ase.formula import Formula

from idealflow.core.setting_types import is_number, is_whole
from idealflow.errors import InputError

__all__ = ["at_least", "composition", "positive", "three", "whole"]


def composition(formula: Any, name: str = "element") -> dict[str, int]:
    """Count the elements of a formula.

    Raises
    ------
    InputError
        If it is no formula of known elements.

    Examples
    --------
    >>> composition("Al2O3")
    {'Al': 2, 'O': 3}
    """
    try:
        counts = dict(Formula(formula).count()) if isinstance(formula, str) else {}
    except ValueError:
        counts = {}
    unknown = next((symbol for symbol in counts if symbol not in atomic_numbers or symbol == "X"), None)
    if unknown is not None or not counts:
        what = f"unknown element {unknown!r}" if counts else "it is no formula"
        raise InputError(
            f"structure.{name} {formula!r}: {what}; give a chemical symbol such as Cu, or a formula such as NaCl "
            "with its crystal"
        )
    return counts


def positive(name: str, value: Any, unit: str = "Å") -> float:
    """Return a positive number, or raise InputError.

    Examples
    --------
    >>> positive("vacuum", 10)
    10.0
    """
    if not is_number(value) or not value > 0:
        raise InputError(f"{name} must be a positive number of {unit}, got {value!r}")
    return float(value)


def at_least(name: str, value: Any, least: float, unit: str = "Å") -> float:
    """Return a number that is not below a bound, or raise InputError.

    Examples
    --------
    >>> at_least("core", 0, 0)
    0.0
    """
    if not is_number(value) or value < least:
        raise InputError(f"{name} must be at least {least:g} {unit}, got {value!r}")
    return float(value)


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number that is not below a bound, or raise InputError.

    Examples
    --------
    >>> whole("layers", 4.0)
    4
    """
    if not is_whole(value) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def three(name: str, value: Any) -> list[float]:
    """Return three positive lengths, Å, of one number or of three.

    Examples
    --------
    >>> three("box", 28)
    [28.0, 28.0, 28.0]
    """
    values = list(value) if isinstance(value, (list, tuple)) else [value] * 3
    if len(values) != 3:
        raise InputError(f"{name} must be one length or three, Å, got {value!r}")
    return [positive(name, each) for each in values]
