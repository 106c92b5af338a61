"""A stage on its own: atoms, files and objects in place of the documents that earlier stages of a campaign would give.

Each function turns what a user has at hand into the arguments of the Maker's own body, so that a stage alone and a stage of a
campaign run the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from ase import Atoms
from jobflow import OutputReference

from idealflow.core import Crop
from idealflow.core.dynamics import MDState
from idealflow.core.registry import check_registered
from idealflow.errors import InputError
from idealflow.schemas import (
    Artifact,
    CentreDoc,
    CropDoc,
    LearnerFiles,
    ScreenDoc,
    SegmentDoc,
    StageContext,
    StoredCrop,
    StoredStructure,
    WalkerState,
)
from idealflow.settings import Settings
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.build import build_structure
from idealflow.workflow.frames.encode import save_frame, to_stored
from idealflow.workflow.jobs.keys import child_seed
from idealflow.workflow.learner.version import load_uncertainty_artifact

__all__ = ["crop", "label", "relax", "screen", "segment"]

#: of a body, from the context on
Arguments = tuple[Any, ...]

_NAME = "alone"
_NO_JOB = ""


class _Starts(Protocol):
    def initial_state(self, atoms: Atoms, seed: int) -> MDState: ...


def segment(maker: _Starts, atoms: object, learner: object, threshold: float | None = None, seed: int = 0) -> Arguments:
    """Arguments of an MD segment from step 0.

    Parameters
    ----------
    atoms
        Anything :func:`~idealflow.workflow.frames.build.build_structure` takes.
    learner
        A force field (object or file), or a pair of force field and uncertainty.
    threshold
        Normalised uncertainty at which the segment stops; it needs an uncertainty. None: nothing is screened.
    seed
        Of the first velocities and the thermostat.

    Raises
    ------
    InputError
        If there is a threshold and no uncertainty.
    """
    context = _context(seed)
    force_field, uncertainty = (
        learner if isinstance(learner, Sequence) and not isinstance(learner, str) else (learner, None)
    )
    if threshold is not None and uncertainty is None:
        raise InputError(
            f"threshold = {threshold:g} needs an uncertainty to compare with; give make(atoms, (force_field, uncertainty), "
            "threshold), or no threshold"
        )
    store = ArtifactStore(context.artifacts)
    with TemporaryDirectory() as folder:
        start = maker.initial_state(build_structure(atoms), child_seed(seed, 0, 0))
        state = store.put_file(start.save(Path(folder) / "state.npz"), suffix=".npz")
    walker = WalkerState(walker=0, step=0, md_state=state, reason="start", unresolved=threshold is not None)
    files = LearnerFiles(
        force_field=_file(store, force_field, "force field", ".pt"),
        uncertainty=None if uncertainty is None else _file(store, uncertainty, "uncertainty", ".npz"),
    )
    return context, walker, files, threshold


def screen(_: object, atoms: object, uncertainty: object, threshold: float | None = None) -> Arguments:
    """Arguments of the screen of one frame.

    Parameters
    ----------
    atoms
        Anything :func:`~idealflow.workflow.frames.build.build_structure` takes.
    uncertainty
        Object or file.
    threshold
        Normalised uncertainty above which an atom triggers; None: the uncertainty's own, ``auto_threshold()``.
    """
    context = _context()
    store = ArtifactStore(context.artifacts)
    files = LearnerFiles(uncertainty=_file(store, uncertainty, "uncertainty", ".npz"))
    if threshold is None:
        threshold = float(load_uncertainty_artifact(store, files).auto_threshold())
    frame = save_frame(store, build_structure(atoms))
    met = SegmentDoc(
        uuid=_NO_JOB, campaign=_NAME, round=0, walker=0, model_version=0, first_step=0, last_step=0, reason="segment_end",
        detail="", start_state=frame, end_state=frame, frame=frame, frame_step=0, trajectory=None, log={}, seconds=0.0,
    )  # fmt: skip
    return context, met, files, threshold


def crop(
    _: object, atoms: object, centre: int, uncertainty: object, embedding: str = "ides", n_keep: int = 3, seed: int = 0
) -> Arguments:
    """Arguments of the crop search around the atom of index ``centre``; ``uncertainty`` as an object or a file.

    Raises
    ------
    InputError
        If there is no such atom.
    """
    context = _context(seed)
    store = ArtifactStore(context.artifacts)
    frame = build_structure(atoms)
    if not 0 <= centre < len(frame):
        raise InputError(f"centre must be the index of one of the {len(frame)} atoms, from 0, got {centre}")
    files = LearnerFiles(uncertainty=_file(store, uncertainty, "uncertainty", ".npz"))
    value = float(load_uncertainty_artifact(store, files)(frame, [centre])[0])
    screened = ScreenDoc(
        campaign=_NAME, round=0, walker=0, step=0, segment_uuid=_NO_JOB, model_version=0, threshold=0.0, n_atoms=len(frame),
        n_uncertain=0, n_triggering=0, max_uncertainty=value, quantiles={}, centres=[], seconds=0.0,
    )  # fmt: skip
    chosen = CentreDoc(atom=centre, species=frame.get_chemical_symbols()[centre], uncertainty=value)
    return context, save_frame(store, frame), screened, _NO_JOB, chosen, files, embedding, n_keep


def relax(_: object, crop: object, uncertainty: object, attempt: int = 0) -> Arguments:
    """Arguments of a relaxation.

    Parameters
    ----------
    crop
        One :class:`~idealflow.core.Crop`; or the crops of a search, as a CropDoc or the output of its job.
    uncertainty
        Object or file.
    attempt
        Which of the relaxed crops is returned, best first.
    """
    context = _context()
    store = ArtifactStore(context.artifacts)
    files = LearnerFiles(uncertainty=_file(store, uncertainty, "uncertainty", ".npz"))
    if isinstance(crop, Crop):
        crop = CropDoc(
            campaign=_NAME, round=0, walker=0, step=0, atom=int(crop.parent_indices[crop.centre]),
            species=crop.atoms.get_chemical_symbols()[crop.centre], centre_uncertainty=float(crop.reference[crop.centre]),
            screen_uuid=_NO_JOB, segment_uuid=_NO_JOB, model_version=0, embedding="ides", seed=[], candidates=[],
            chosen=[StoredCrop.model_validate(crop.to_dict())], seconds=0.0,
        )  # fmt: skip
    return context, crop, _NO_JOB, files, attempt


def label(_: object, atoms: object, request: str = "alone") -> Arguments:
    """Arguments of the label of one structure.

    Parameters
    ----------
    atoms
        Anything :func:`~idealflow.workflow.frames.build.build_structure` takes; or the structure of an earlier stage's
        document, as it is or as the output of its job (``relax.output.structure``).
    request
        Name of the label in its document.
    """
    structure = atoms if isinstance(atoms, StoredStructure | OutputReference) else to_stored(build_structure(atoms))
    return _context(), structure, request, "bootstrap"


def _context(seed: int = 0) -> StageContext:
    """What a stage needs to know where there is no campaign: the site's folders, else those of the working directory."""
    site = Settings()
    artifacts = site.artifacts or "idealflow_artifacts"
    artifacts = artifacts if "://" in artifacts else str(Path(artifacts).absolute())
    work = str(Path(site.work or "idealflow_work").absolute())
    return StageContext(campaign=_NAME, round=0, seed=seed, artifacts=artifacts, work=work)


def _file(store: ArtifactStore, source: Any, what: str, suffix: str) -> Artifact:
    """An object with ``save``, or the file it wrote, as an artifact."""
    if isinstance(source, (str, Path)):
        if not Path(source).is_file():
            raise InputError(
                f"{what} file {source} does not exist; give the file that {what}.save(path) wrote, or the object"
            )
        return store.put_file(Path(source), suffix=suffix)
    if not hasattr(source, "save"):
        raise InputError(f"{what} must be an object with save(path), or the file it wrote, got {type(source).__name__}")
    if what == "uncertainty":
        check_registered(type(source))
    with TemporaryDirectory() as folder:
        source.save(Path(folder) / "saved")
        return store.put_file(Path(folder) / "saved", suffix=suffix)
