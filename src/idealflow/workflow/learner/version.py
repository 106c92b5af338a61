"""One version of what a campaign knows, as files: force field, uncertainty, replay ledger."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from idealflow.errors import InputError
from idealflow.forcefields import ForceField, load_force_field
from idealflow.schemas import Artifact, LearnerFiles, LearnerVersion
from idealflow.storage import ArtifactStore
from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.learner.uncertainties import Uncertainty, load_uncertainty

__all__ = ["load_force_field_artifact", "load_uncertainty_artifact", "store_learner"]

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
) -> LearnerVersion:
    """Write a learner version; parts given as None are those of ``before``."""
    uncertainty.save(directory / "uncertainty")
    files: dict[str, Artifact] = {"uncertainty": store.put_file(directory / "uncertainty", suffix=".npz")}
    if force_field is not None:
        force_field.save(directory / "force_field")
        files["force_field"] = store.put_file(directory / "force_field", suffix=".pt")
    if ledger is not None:
        files["ledger"] = ledger.save(store)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    if before is not None:
        return before.model_copy(update={"version": version, **files})
    return LearnerVersion(version=version, **files)


def load_force_field_artifact(store: ArtifactStore, learner: LearnerVersion | LearnerFiles) -> ForceField:
    """The force field of a learner version; cached per process, so treat it as read-only (``copy()`` to train)."""
    return _cached("force_field", learner.force_field, store, load_force_field)


def load_uncertainty_artifact(store: ArtifactStore, learner: LearnerVersion | LearnerFiles) -> Uncertainty:
    """The uncertainty of a learner version; cached per process, so treat it as read-only."""
    return _cached("uncertainty", learner.uncertainty, store, load_uncertainty)


def _cached(part: str, artifact: Artifact | None, store: ArtifactStore, load: Callable[[Path], T]) -> T:
    if artifact is None:
        raise InputError(f"this stage needs a {part.replace('_', ' ')}, and was given none")
    key = (part, artifact.sha256)
    if key not in _loaded:
        _loaded[key] = load(store.get(artifact))
        while len(_loaded) > _CACHE_SIZE:
            _loaded.popitem(last=False)
    _loaded.move_to_end(key)
    found: T = _loaded[key]
    return found
