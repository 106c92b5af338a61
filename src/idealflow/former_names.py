"""Arguments under the names that they had: what older scripts, configs and stored documents call them is still understood."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from idealflow.errors import InputError

__all__ = [
    "FORMER",
    "first_names",
    "formerly",
    "given_formerly",
    "present_names",
    "takes_former_names",
    "with_former_names",
]

Made = TypeVar("Made")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

#: class → {former name: present name} of the fields that were renamed; keys of settings go on using the former ones
FORMER: dict[str, dict[str, str]] = {
    "MDSegmentMaker": {"wall_time_s": "time_limit_s"},
    "ModelUpdateMaker": {"n_judges": "n_validation"},
    "LocalForceField": {"fit_lr": "fit_learning_rate"},
}

_GIVEN, _FORMER = "_given_formerly", "_former"


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

        init._former = (gone, names)  # type: ignore[attr-defined]  # for classes that are derived of this one
        init.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]  # by which monty knows the fields
        made.__init__ = init
        return decorated

    return decorate


def takes_former_names(kind: type) -> bool:
    """Whether a class's own constructor takes former names, if any of those that it is derived of does.

    A dataclass that is derived of one which :func:`formerly` decorates has a constructor of its own, which does not.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from idealflow import CropSearchMaker
    >>> @dataclass
    ... class Mine(CropSearchMaker):
    ...     margin: float = 2.0
    >>> takes_former_names(CropSearchMaker), takes_former_names(Mine)
    (True, False)
    """
    return not _inherited(kind) or hasattr(kind.__init__, _FORMER)


def with_former_names(kind: type[Made], arguments: Mapping[str, Any]) -> Made:
    """An object of a class whose own constructor does not take the former names of the classes that it is derived of.

    Parameters
    ----------
    kind
        The class.
    arguments
        Keyword arguments, some perhaps under former names.

    Raises
    ------
    InputError
        When one is given under both names.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from idealflow import ModelUpdateMaker
    >>> @dataclass
    ... class Mine(ModelUpdateMaker):
    ...     margin: float = 2.0
    >>> made = with_former_names(Mine, {"n_judges": 3, "category": "gpu"})
    >>> made.n_validation, given_formerly(made, "category")
    (3, 'gpu')
    """
    own = inspect.signature(kind).parameters
    given, kept = dict(arguments), {}
    for gone, names in _inherited(kind):
        kept |= {name: given.pop(name) for name in gone if name in given and name not in own}
        given = present_names(given, {old: new for old, new in names.items() if old not in own}, kind.__name__)
    made = kind.__new__(kind)
    vars(made)[_GIVEN] = {name: value for name, value in kept.items() if value is not None}
    kind.__init__(made, **given)
    return made


def _inherited(kind: type) -> list[tuple[tuple[str, ...], dict[str, str]]]:
    """What :func:`formerly` was told of a class and those that it is derived of."""
    constructors = [vars(one)["__init__"] for one in kind.__mro__ if "__init__" in vars(one)]
    return [getattr(one, _FORMER) for one in constructors if hasattr(one, _FORMER)]


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
