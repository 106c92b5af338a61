"""The uncertainty of a campaign: its settings, the check of the choice before anything is computed, and reading its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idealflow import core
from idealflow.core import Uncertainty, uncertainty_class
from idealflow.core.registry import check_settings
from idealflow.errors import InputError
from idealflow.forcefields import ForceField
from idealflow.settings import Settings

__all__ = ["check_choice", "load_uncertainty", "settings_of"]


def settings_of(name: str, settings: Mapping[str, Any], committee_size: int) -> dict[str, Any]:
    """Return the settings an uncertainty begins with: those of the config, and for a committee its size, which has its own key.

    Raises
    ------
    InputError
        If the size is given twice.

    Examples
    --------
    >>> settings_of("committee", {}, committee_size=3)
    {'members': 3}
    """
    if name != "committee":
        return dict(settings)
    if "members" in settings:
        raise InputError("bootstrap.uncertainty_settings: members is bootstrap.committee_size; give it there")
    return {**settings, "members": committee_size}


def check_choice(name: str, settings: Mapping[str, Any], force_field: ForceField) -> None:
    """Refuse an unknown uncertainty, settings that it does not have, and a force field that it can not work with.

    Parameters
    ----------
    name
        Registered name, or ``module:Class``.
    settings
        Its settings, as :func:`settings_of` returns them.
    force_field
        The force field, untrained.

    Raises
    ------
    InputError
        Names the key of the config.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> check_choice("soap", {}, get_force_field("local", species=["Cu"]))
    """
    try:
        kind = uncertainty_class(name)
        kind.check(force_field)
    except InputError as error:
        raise InputError(f"bootstrap.uncertainty: {error}") from error
    try:
        check_settings(kind, settings)
    except InputError as error:
        raise InputError(f"bootstrap.uncertainty_settings: {error}") from error


def load_uncertainty(path: str | Path) -> Uncertainty:
    """Load an uncertainty of any class on the device that the settings name; errors as :func:`idealflow.core.load_uncertainty`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> u = UncertaintyModel.fit([bulk("Cu")], SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> load_uncertainty(u.save("u.npz")).name
    'soap'
    """
    return core.load_uncertainty(path, Settings().uncertainty_device)
