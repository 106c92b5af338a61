"""Architectures by name, imported when asked for."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from typing import Any

from idealflow.errors import ArtifactError, IdealflowError, InputError, MissingExtraError
from idealflow.forcefields.protocol import ForceField

__all__ = ["available", "default_settings", "get_force_field", "load_force_field", "register_force_field"]

#: name → (module:class, pip extra that it needs)
BUILT_IN = {"local": ("idealflow.forcefields.local:LocalForceField", None)}
REGISTERED: dict[str, type] = {}
_GROUP = "idealflow.forcefields"


def available() -> list[str]:
    """Names of all architectures: built in, registered, and of installed plug-ins (entry points ``idealflow.forcefields``)."""
    return sorted({*BUILT_IN, *REGISTERED, *(entry.name for entry in entry_points(group=_GROUP))})


def register_force_field(name: str, kind: type) -> None:
    """Make a class that follows :class:`~idealflow.forcefields.ForceField` available under ``name`` in this process."""
    REGISTERED[name] = kind


def get_force_field(name: str, **settings: Any) -> ForceField:
    """An untrained force field.

    Parameters
    ----------
    name
        One of :func:`available`.
    settings
        ``species`` and whatever else the architecture takes.

    Raises
    ------
    InputError
        For an unknown name or setting.
    MissingExtraError
        If its package is not installed, with the pip command.
    """
    try:
        force_field: ForceField = _kind(name)(**settings)
    except TypeError as error:
        raise InputError(f"force field {name!r}: {error}; check force_field_settings") from error
    return force_field


def default_settings(name: str) -> dict[str, Any]:
    """What a force field's settings are where they are not given, as its class says; none of a class that is not there.

    Sequences are lists, as in a config.
    """
    try:
        parameters = signature(_kind(name)).parameters.values()
    except IdealflowError:
        return {}
    found = {each.name: each.default for each in parameters if each.default is not each.empty}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def load_force_field(path: str | Path) -> ForceField:
    """A trained force field from its file, whatever its architecture.

    Raises
    ------
    ArtifactError
        If the file is missing, cut short, damaged or no force field.
    """
    force_field: ForceField = _kind(_architecture(Path(path))).load(path)
    return force_field


def _architecture(path: Path) -> str:
    """Architecture named in the header: files of force fields begin with one line of JSON."""
    try:
        with path.open("rb") as handle:
            header = json.loads(handle.readline(4096))
        return str(header["force_field"])
    except FileNotFoundError as error:
        raise ArtifactError(f"force field {path} does not exist") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is no force field: its first line must name one as JSON") from error


def _kind(name: str) -> Any:
    if name in REGISTERED:
        return REGISTERED[name]
    if name in BUILT_IN:
        location, extra = BUILT_IN[name]
        module, _, attribute = location.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except ImportError as error:
            if extra is None:
                raise
            raise MissingExtraError(
                f"force field {name!r} needs: pip install 'idealflow[{extra}]' ({error})"
            ) from error
    for entry in entry_points(group=_GROUP):
        if entry.name == name:
            return entry.load()
    raise InputError(f"unknown force field {name!r}; available: {', '.join(available())}")
