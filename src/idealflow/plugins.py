"""Looking up classes by name.

A name is that of a built-in class, of one registered in this process, of an entry point of an installed package, or an import
path ``module:Class``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from idealflow.errors import InputError, MissingExtraError, did_you_mean

__all__ = ["Plugins"]


@dataclass(frozen=True)
class Plugins:
    """All classes of one kind that a config may name.

    Attributes
    ----------
    what
        What messages call such a class, for instance ``force field``.
    group
        Entry point group under which installed packages offer theirs.
    register
        Name of the function that registers one, for messages.
    built_in
        Name → (``module:Class``, the pip extra that it needs or None); imported only when looked up.
    registered
        Name → class, of those registered in this process.

    Examples
    --------
    >>> numbers = Plugins("number", "idealflow.numbers", "register_number", {"half": ("fractions:Fraction", None)})
    >>> numbers.find("half").__name__, numbers.find("decimal:Decimal").__name__
    ('Fraction', 'Decimal')
    """

    what: str
    group: str
    register: str
    built_in: dict[str, tuple[str, str | None]]
    registered: dict[str, type] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Names of all built-in classes, registered classes and entry points, sorted."""
        return sorted({*self.built_in, *self.registered, *(entry.name for entry in entry_points(group=self.group))})

    def find(self, name: str) -> Any:
        """Look up a class by its name, or by its import path ``module:Class``.

        Raises
        ------
        InputError
            For an unknown name (the message lists the known ones and how to add one), for a class in a name's place, and for a
            name that leads to no class or to a module that cannot be imported.
        MissingExtraError
            If a built-in class needs a package that is not installed; the message holds the pip command.
        """
        if not isinstance(name, str):
            if name is None or isinstance(name, (int, float, list, tuple, dict)):
                raise InputError(f"the {self.what} must be a name, got {name!r}; available: {', '.join(self.names())}")
            given = name if isinstance(name, type) else type(name)
            raise InputError(
                f"the {self.what} is asked for by its name, got the class {given.__name__}; register it with "
                f'{self.register}("name", {given.__name__}), or give "{given.__module__}:{given.__qualname__}"'
            )
        if name in self.registered:
            return self.registered[name]
        if name in self.built_in:
            return self._built_in(name)
        for entry in entry_points(group=self.group):
            if entry.name == name:
                return self._loaded(name, entry.load)
        if ":" in name:
            module, _, attribute = name.partition(":")
            return self._loaded(name, lambda: getattr(import_module(module), attribute))
        names = self.names()
        raise InputError(
            f"unknown {self.what} {name!r}{did_you_mean(name, names)}; available: {', '.join(names)}; one of your own is known "
            f"by {self.register}(name, class), by an entry point of the group {self.group}, or as module:Class"
        )

    def _built_in(self, name: str) -> Any:
        location, extra = self.built_in[name]
        module, _, attribute = location.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except ImportError as error:
            if extra is None:
                raise
            raise MissingExtraError(
                f"{self.what} {name!r} needs: pip install 'idealflow[{extra}]' ({error})"
            ) from error

    def _loaded(self, name: str, load: Callable[[], Any]) -> Any:
        """A class of somebody else's."""
        try:
            found = load()
        except Exception as error:  # a module may raise anything while it is imported; the message says what
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(
                f"cannot import the {self.what} {name!r} ({cause}); every process that runs a part of a campaign has to find it: "
                "install its module, or set PYTHONPATH to its folder"
            ) from error
        if not isinstance(found, type):
            raise InputError(
                f"{self.what} {name!r} is no class but of type {type(found).__name__}; give the class of the {self.what}"
            )
        return found
