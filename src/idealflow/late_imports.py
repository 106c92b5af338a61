"""Packages whose names are imported when they are first used, so that a command imports no more than it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["late"]


def late(package: str, rooms: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Build ``__getattr__`` and ``__dir__`` of a package that imports its public names when they are first used.

    Type checkers do not see such names: repeat the imports under ``TYPE_CHECKING``. A name must not be that of a module in
    the package, which importing that module would put in its place.

    Parameters
    ----------
    package
        Name of the package, its ``__name__``.
    rooms
        Names, separated by blanks, by the module below the package that defines them.

    Returns
    -------
    tuple
        ``__getattr__`` and ``__dir__``, to be assigned in the package's ``__init__.py``.

    Raises
    ------
    AttributeError
        By ``__getattr__``, for a name that is not among them.

    Examples
    --------
    >>> look_up, names = late("idealflow", {"errors": "InputError LabelError"})
    >>> look_up("InputError")
    <class 'idealflow.errors.InputError'>
    >>> "LabelError" in names()
    True
    """
    room_of = {name: f"{package}.{room}" for room, names in rooms.items() for name in names.split()}

    def look_up(name: str) -> Any:
        if name not in room_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(room_of[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *room_of})

    return look_up, names
