"""Arguments under the names that they had: what older scripts, configs and stored documents call them is still understood."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from idealflow.errors import InputError

__all__ = ["FORMER", "first_names", "formerly", "given_formerly", "present_names"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

#: class → {former name: present name} of the fields that were renamed; keys of settings go on using the former ones
FORMER: dict[str, dict[str, str]] = {
    "MDSegmentMaker": {"wall_time_s": "time_limit_s"},
    "ModelUpdateMaker": {"n_judges": "n_validation"},
    "LocalForceField": {"fit_lr": "fit_learning_rate"},
}

_GIVEN = "_given_formerly"


def formerly(*gone: str, **names: str) -> Callable[[Decorated], Decorated]:
    """Let a function or a class take keyword arguments under their former names too.

    Parameters
    ----------
    gone
        Former arguments of a class that have no successor in it. Their values are kept for :func:`given_formerly`.
    names
        Former name → present name.

    Raises
    ------
    InputError
        From the decorated function or class, when an argument is given under both names.

    Examples
    --------
    >>> @formerly(lr="learning_rate")
    ... def train(*, learning_rate: float) -> float:
    ...     return learning_rate
    >>> train(lr=0.1)
    0.1
    >>> train(lr=0.1, learning_rate=0.1)
    Traceback (most recent call last):
    idealflow.errors.InputError: train: lr is called learning_rate now; give learning_rate alone
    """

    def decorate(decorated: Decorated) -> Decorated:
        owner = decorated.__name__
        if not isinstance(decorated, type):
            function: Any = decorated

            @functools.wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                return function(*args, **present_names(kwargs, names, owner))

            return call  # type: ignore[return-value]  # the same call, with more names

        made: Any = decorated
        original = made.__init__

        @functools.wraps(original)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            given = {name: kwargs.pop(name) for name in gone if name in kwargs}
            vars(self)[_GIVEN] = {name: value for name, value in given.items() if value is not None}
            original(self, *args, **present_names(kwargs, names, owner))

        init.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]  # by which monty knows the fields
        made.__init__ = init
        return decorated

    return decorate


def given_formerly(owner: Any, name: str) -> Any:
    """What an object was given for a former argument that has no successor (see :func:`formerly`); None for nothing.

    Examples
    --------
    >>> @formerly("category")
    ... class Stage:
    ...     def __init__(self, steps: int) -> None:
    ...         self.steps = steps
    >>> given_formerly(Stage(steps=3, category="gpu"), "category")
    'gpu'
    """
    return vars(owner).get(_GIVEN, {}).get(name)


def present_names(given: Mapping[str, Any], names: Mapping[str, str], owner: str) -> dict[str, Any]:
    """Arguments under their present names, in their order.

    Parameters
    ----------
    given
        Arguments, some perhaps under former names.
    names
        Former name → present name.
    owner
        What takes them, for the message.

    Raises
    ------
    InputError
        When one is given under both names.

    Examples
    --------
    >>> present_names({"lr": 0.1, "steps": 5}, {"lr": "learning_rate"}, "train")
    {'learning_rate': 0.1, 'steps': 5}
    """
    for former, present in names.items():
        if former in given and present in given:
            raise InputError(f"{owner}: {former} is called {present} now; give {present} alone")
    return {names.get(name, name): value for name, value in given.items()}


def first_names(settings: Any) -> Any:
    """Settings of our classes with their fields named as they first were: what hashes are made of, so that they stay.

    Parameters
    ----------
    settings
        MSON form of Makers (dicts with ``@class``), settings of force fields, or any list or mapping of them.

    Examples
    --------
    >>> first_names({"@module": "idealflow", "@class": "MDSegmentMaker", "time_limit_s": 60})
    {'@module': 'idealflow', '@class': 'MDSegmentMaker', 'wall_time_s': 60}
    """
    if isinstance(settings, (list, tuple)):
        return [first_names(value) for value in settings]
    if not isinstance(settings, dict):
        return settings
    # the settings of a force field stand in documents without the name of its class
    own = settings.get("@class") if settings.get("@module") == "idealflow" else "LocalForceField"
    first = {present: former for former, present in FORMER.get(str(own), {}).items()}
    return {first.get(key, key): first_names(value) for key, value in settings.items()}
