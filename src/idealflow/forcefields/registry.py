"""Architectures by name, imported when asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from idealflow.errors import ArtifactError, IdealflowError, InputError, did_you_mean
from idealflow.forcefields.protocol import ForceField
from idealflow.former_names import FORMER, present_names
from idealflow.plugins import Plugins

__all__ = [
    "FORCE_FIELDS",
    "available",
    "default_settings",
    "get_force_field",
    "load_force_field",
    "present_settings",
    "register_force_field",
]

FORCE_FIELDS = Plugins(
    "force field",
    "idealflow.forcefields",
    "register_force_field",
    {"local": ("idealflow.forcefields.local:LocalForceField", None)},
)


def available() -> list[str]:
    """Names of all architectures: built in, registered, and of installed plug-ins (entry points ``idealflow.forcefields``)."""
    return FORCE_FIELDS.names()


def register_force_field(name: str, kind: type) -> None:
    """Make a class that follows :class:`~idealflow.forcefields.ForceField` available under ``name`` in this process."""
    FORCE_FIELDS.registered[name] = kind


def get_force_field(name: str, **settings: Any) -> ForceField:
    """An untrained force field.

    Parameters
    ----------
    name
        One of :func:`available`, or the import path ``module:Class`` of one's own, which its ``name`` then has to be.
    settings
        ``species`` and whatever else the architecture takes.

    Raises
    ------
    InputError
        For an unknown name or setting.
    MissingExtraError
        If its package is not installed, with the pip command.
    """
    made = FORCE_FIELDS.find(name)
    try:
        signature(made).bind(**settings)
    except TypeError as error:
        known = [each for each in signature(made).parameters if each != "species"]
        unknown = next((key for key in settings if key not in (*known, "species")), None)
        raise InputError(
            f"force field {name!r}: {error}{did_you_mean(unknown, known) if unknown else ''}; its settings are "
            f"{', '.join(known) or 'none'}"
        ) from error
    try:
        force_field: ForceField = made(**settings)
    except TypeError as error:
        raise InputError(f"force field {name!r}: {error}; check force_field_settings") from error
    return force_field


def default_settings(name: str) -> dict[str, Any]:
    """What a force field's settings are where they are not given, as its class says; none of a class that is not there.

    Sequences are lists, as in a config.
    """
    try:
        parameters = signature(FORCE_FIELDS.find(name)).parameters.values()
    except IdealflowError:
        return {}
    found = {each.name: each.default for each in parameters if each.default is not each.empty}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def present_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a force field under the names that they have now.

    Parameters
    ----------
    name
        One of :func:`available`; settings of any other are returned as they are.
    settings
        Some perhaps under a name of an earlier version.

    Raises
    ------
    InputError
        When a setting is given under both names.

    Examples
    --------
    >>> present_settings("local", {"cutoff": 4.0, "fit_lr": 0.01})
    {'cutoff': 4.0, 'fit_learning_rate': 0.01}
    """
    location, _ = FORCE_FIELDS.built_in.get(name, ("", None))
    former = {} if name in FORCE_FIELDS.registered else FORMER.get(location.rpartition(":")[2], {})
    return present_names(settings, former, f"force field {name!r}")


def load_force_field(path: str | Path) -> ForceField:
    """A trained force field from its file, whatever its architecture.

    Raises
    ------
    ArtifactError
        If the file is missing, cut short, damaged or no force field.
    """
    force_field: ForceField = FORCE_FIELDS.find(_architecture(Path(path))).load(path)
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
