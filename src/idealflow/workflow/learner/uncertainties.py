"""The uncertainty of a campaign: its settings, the check of the choice before anything is computed, and its files.

The file of a version leans on those of the versions before it: it holds the arrays that none of them does. What is made from the
distribution, the metric, lies beside it in a file that ends in ``.metric``, of the last version alone. That one is a cache:
without it the metric is made again, to the bit.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idealflow import core
from idealflow.core import SOAPCoverage, Uncertainty, UncertaintyModel, uncertainty_class
from idealflow.core.leaning import lean
from idealflow.core.registry import check_settings
from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields import ForceField
from idealflow.schemas import Artifact
from idealflow.settings import Settings
from idealflow.storage import ArtifactStore

__all__ = ["check_choice", "load_stored_uncertainty", "load_uncertainty", "settings_of", "store_uncertainty"]

_METRIC = ".metric"

_logger = logging.getLogger(__name__)


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


def store_uncertainty(
    store: ArtifactStore, directory: Path, uncertainty: Uncertainty, before: Artifact | None
) -> Artifact:
    """Store an uncertainty as a file that leans on the one before it, and its metric beside it.

    Parameters
    ----------
    store
        Where its files are kept.
    directory
        Folder to write them in first.
    uncertainty
        Of any class: what is new is told by the arrays of its archive.
    before
        File of the version before it; None for the first, or where the version before lies in another store.

    Examples
    --------
    A version adds what its environments bring, here 24 features of 32 atoms:

    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> crystals = [bulk("Cu", cubic=True) * 2 for _ in range(9)]
    >>> for seed, crystal in enumerate(crystals):
    ...     crystal.rattle(0.1, seed=seed)
    >>> u = UncertaintyModel.fit(crystals[:8], SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> store = ArtifactStore("artifacts")
    >>> first = store_uncertainty(store, Path("."), u, None)
    >>> u.update(crystals[8:])
    >>> second = store_uncertainty(store, Path("."), u, first)
    >>> second.size < 15_000 < first.size, load_stored_uncertainty(store.get(second)).n_samples
    (True, {'Cu': 288})
    """
    draft = uncertainty.save(directory / "uncertainty")
    earlier = draft if before is None else store.get(before)
    lean(draft, earlier, {} if before is None else before.model_dump())
    stored = store.put_file(draft, suffix=".npz")
    draft.unlink()
    model = _soap_model(uncertainty)
    if model is not None:
        model.save_metric(store.get(stored).with_suffix(_METRIC))
        if before is not None and before.sha256 != stored.sha256:
            earlier.with_suffix(_METRIC).unlink(missing_ok=True)
    return stored


def load_stored_uncertainty(path: Path) -> Uncertainty:
    """Load what :func:`store_uncertainty` stored, from the local file of the artifact; without its metric it is made again.

    Examples
    --------
    >>> load_stored_uncertainty(Path("absent.npz"))
    Traceback (most recent call last):
    idealflow.errors.ArtifactError: absent.npz does not exist; expected a file of kind 'idealflow uncertainty model'
    """
    uncertainty, metric = load_uncertainty(path), path.with_suffix(_METRIC)
    model = _soap_model(uncertainty)
    if model is not None and metric.exists():
        try:
            model.take_metric(metric)
        except ArtifactError as error:
            _logger.warning("%s; the metric is made again", error)
    return uncertainty


def _soap_model(uncertainty: Uncertainty) -> UncertaintyModel | None:
    """The SOAP model that an uncertainty is or has."""
    found = uncertainty.base if isinstance(uncertainty, SOAPCoverage) else uncertainty
    return found if isinstance(found, UncertaintyModel) else None
