"""Learner versions as files: writing force field, uncertainty and replay ledger, and reading them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from idealflow.core import Uncertainty
from idealflow.errors import InputError
from idealflow.forcefields import ForceField, load_force_field
from idealflow.schemas import Artifact, LearnerFiles, LearnerVersion
from idealflow.storage import ArtifactStore
from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.learner.uncertainties import load_stored_uncertainty, store_uncertainty

__all__ = ["Start", "load_consolidated", "load_force_field_artifact", "load_uncertainty_artifact", "store_learner"]

#: weights that a consolidation begins with: the present ones, or those of the last consolidated version
Start = Literal["present", "consolidated"]

T = TypeVar("T")

_CACHE_SIZE = 4
_loaded: OrderedDict[tuple[str, str], Any] = OrderedDict()


def store_learner(
    store: ArtifactStore,
    directory: Path,
    version: int,
    *,
    force_field: ForceField | None,
    uncertainty: Uncertainty,
    ledger: Ledger | None,
    before: LearnerVersion | None,
    consolidated: bool = False,
    largest_force: float = 0.0,
) -> LearnerVersion:
    """Write a learner version as files; parts given as None are taken over from ``before``.

    The uncertainty's file holds what is new since ``before`` (:mod:`~idealflow.workflow.learner.uncertainties`).

    Parameters
    ----------
    store
        Where its files are kept.
    directory
        Empty folder to write them in first; it is removed.
    version
        Number of the version, from 0.
    force_field, uncertainty, ledger
        Its parts.
    before
        The version before it; None for the first.
    consolidated
        Whether the force field has just learned all its data together.
    largest_force
        Largest force of new labels on an atom of a core, eV/Å; what the version before has is kept where it is larger.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> from idealflow.forcefields import get_force_field
    >>> u = UncertaintyModel.fit([bulk("Cu")], SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> store, draft = ArtifactStore("artifacts"), Path("draft")
    >>> draft.mkdir()
    >>> local = get_force_field("local", species=["Cu"])
    >>> made = store_learner(store, draft, 0, force_field=local, uncertainty=u, ledger=Ledger(), before=None)
    >>> made.version, load_uncertainty_artifact(store, made).n_samples, load_force_field_artifact(store, made).name
    (0, {'Cu': 1}, 'local')
    """
    files: dict[str, Artifact] = {
        "uncertainty": store_uncertainty(store, directory, uncertainty, None if before is None else before.uncertainty)
    }
    if force_field is not None:
        force_field.save(directory / "force_field")
        files["force_field"] = store.put_file(directory / "force_field", suffix=".pt")
        if consolidated:
            files["consolidated"] = files["force_field"]
    if ledger is not None:
        files["ledger"] = ledger.save(store)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    if before is not None:
        largest_force = max(before.largest_force, largest_force)
        return before.model_copy(update={"version": version, "largest_force": largest_force, **files})
    return LearnerVersion(version=version, largest_force=largest_force, **files)


def load_force_field_artifact(store: ArtifactStore, learner: LearnerVersion | LearnerFiles) -> ForceField:
    """Load the force field of a learner version; it is cached in the process, so never change it: train a ``copy()``.

    Raises
    ------
    InputError
        If there is none.

    Examples
    --------
    >>> load_force_field_artifact(ArtifactStore("artifacts"), LearnerFiles())
    Traceback (most recent call last):
    idealflow.errors.InputError: this stage needs a force field, and was given none
    """
    force_field: ForceField = _cached("force_field", learner.force_field, store, load_force_field)
    return force_field


def load_consolidated(store: ArtifactStore, learner: LearnerVersion) -> ForceField | None:
    """Load the last consolidated force field of a learner, for training; None if it is the present one, or was not kept.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> load_consolidated(ArtifactStore("artifacts"), sample_campaign().state().learner) is None
    True
    """
    if learner.consolidated is None or learner.consolidated == learner.force_field:
        return None
    found: ForceField = _cached("force_field", learner.consolidated, store, load_force_field)
    return found


def load_uncertainty_artifact(store: ArtifactStore, learner: LearnerVersion | LearnerFiles) -> Uncertainty:
    """Load the uncertainty of a learner version; it is cached in the process, so never change it: change a ``copy()``.

    Raises
    ------
    InputError
        If there is none.

    Examples
    --------
    >>> load_uncertainty_artifact(ArtifactStore("artifacts"), LearnerFiles())
    Traceback (most recent call last):
    idealflow.errors.InputError: this stage needs an uncertainty, and was given none
    """
    uncertainty: Uncertainty = _cached("uncertainty", learner.uncertainty, store, load_stored_uncertainty)
    return uncertainty


def _cached(part: str, artifact: Artifact | None, store: ArtifactStore, load: Callable[[Path], T]) -> T:
    if artifact is None:
        what = "an uncertainty" if part == "uncertainty" else "a force field"
        raise InputError(f"this stage needs {what}, and was given none")
    key = (part, artifact.sha256)
    if key not in _loaded:
        _loaded[key] = load(store.get(artifact))
        while len(_loaded) > _CACHE_SIZE:
            _loaded.popitem(last=False)
    _loaded.move_to_end(key)
    found: T = _loaded[key]
    return found
