"""Checks of what a force field that learns is set to, and asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from idealflow.core.setting_types import is_number, is_whole
from idealflow.errors import InputError

__all__ = ["check_positive", "check_rate", "check_whole", "checked_steps"]


def check_positive(settings: Mapping[str, Any], *names: str) -> None:
    """Refuse settings that are no positive numbers.

    Raises
    ------
    InputError
        With the first of them.

    Examples
    --------
    >>> check_positive({"cutoff": -1.0}, "cutoff")
    Traceback (most recent call last):
    idealflow.errors.InputError: cutoff must be a positive number, got -1.0
    """
    for name in names:
        if not (is_number(settings[name]) and settings[name] > 0):
            raise InputError(f"{name} must be a positive number, got {settings[name]!r}")


def check_whole(settings: Mapping[str, Any], *names: str, least: int = 1) -> None:
    """Refuse settings that are no whole numbers, or less than the ``least``.

    Raises
    ------
    InputError
        With the first of them.

    Examples
    --------
    >>> check_whole({"batch_size": 0}, "batch_size")
    Traceback (most recent call last):
    idealflow.errors.InputError: batch_size must be a whole number, at least 1, got 0
    """
    for name in names:
        if not is_whole(settings[name]) or settings[name] < least:
            raise InputError(f"{name} must be a whole number, at least {least}, got {settings[name]!r}")


def check_rate(lr: float) -> None:
    """Refuse a learning rate that is not positive and finite.

    Raises
    ------
    InputError
        With the value.

    Examples
    --------
    >>> check_rate(1e-3)
    """
    if not (np.isfinite(lr) and lr > 0):
        raise InputError(f"lr must be positive, got {lr}")


def checked_steps(steps: int) -> int:
    """A number of gradient steps as a whole number.

    Raises
    ------
    InputError
        If it is none, or less than 1.

    Examples
    --------
    >>> checked_steps(20.0)
    20
    """
    if int(steps) != steps or steps < 1:
        raise InputError(f"steps must be a whole number, at least 1, got {steps}")
    return int(steps)
