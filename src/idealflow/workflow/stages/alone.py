"""Stages that run alone, on atoms, files and objects in place of the documents of a campaign's earlier stages.

Each function turns what a user has at hand into the arguments of the Maker's body, so that a stage alone and a stage of a
campaign run the same code. A Maker's ``make`` calls it if its first argument is no StageContext; files are written below the
folders that the settings name, else below the working directory.
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
from idealflow.core.leaning import leans_on
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
from idealflow.structures.charges import ionic_charges
from idealflow.workflow.frames.build import build_structure
from idealflow.workflow.frames.encode import save_frame, to_stored
from idealflow.workflow.jobs.keys import child_seed
from idealflow.workflow.learner.uncertainties import load_uncertainty
from idealflow.workflow.learner.version import load_uncertainty_artifact

__all__ = ["crop", "label", "relax", "screen", "segment"]

#: arguments of a body, from the context on
Arguments = tuple[Any, ...]

_NAME = "alone"
_NO_JOB = ""


class _Starts(Protocol):
    def initial_state(self, atoms: Atoms, seed: int) -> MDState: ...


def segment(maker: _Starts, atoms: object, learner: object, threshold: float | None = None, seed: int = 0) -> Arguments:
    """Make the arguments of an MD segment from step 0.

    Parameters
    ----------
    maker
        The segment's Maker, whose schedule gives the first velocities.
    atoms
        Anything :func:`~idealflow.workflow.frames.build.build_structure` takes.
    learner
        A force field (object or file), or a pair of force field and uncertainty.
    threshold
        Normalised uncertainty at which the segment stops; it needs an uncertainty. None: nothing is screened.
    seed
        Seed of the first velocities and the thermostat.

    Raises
    ------
    InputError
        If there is a threshold and no uncertainty.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import MDSegmentMaker
    >>> from idealflow.forcefields import get_force_field
    >>> force_field = get_force_field("local", species=["Cu"])
    >>> context, walker, files, threshold = segment(MDSegmentMaker(), bulk("Cu", cubic=True), force_field)
    >>> walker.step, files.uncertainty, threshold
    (0, None, None)
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
    """Make the arguments of the screen of one frame.

    Parameters
    ----------
    atoms
        Anything :func:`~idealflow.workflow.frames.build.build_structure` takes.
    uncertainty
        The object, or the file that its ``save`` wrote.
    threshold
        Normalised uncertainty above which an atom triggers; None: the uncertainty's own, ``auto_threshold()``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> frame = bulk("Cu", cubic=True) * 3
    >>> frame.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([frame], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> context, met, files, threshold = screen(None, frame, u)
    >>> threshold == u.auto_threshold()
    True
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
    """Make the arguments of the crop search around one atom.

    Parameters
    ----------
    atoms
        Anything :func:`~idealflow.workflow.frames.build.build_structure` takes.
    centre
        Index of the atom.
    uncertainty
        The object, or the file that its ``save`` wrote.
    embedding
        ``ides``, ``crop``, ``vacuum`` or ``frame``.
    n_keep
        How many crops are kept whole.
    seed
        Seed of the candidate cells.

    Raises
    ------
    InputError
        If there is no such atom.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> frame = bulk("Cu", cubic=True) * 3
    >>> frame.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([frame], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> context, file, screened, _, chosen, files, embedding, n_keep = crop(None, frame, 3, u)
    >>> chosen.atom, chosen.species, chosen.uncertainty == float(u(frame)[3])
    (3, 'Cu', True)
    >>> crop(None, frame, 108, u)
    Traceback (most recent call last):
    idealflow.errors.InputError: centre must be the index of one of the 108 atoms, from 0, got 108
    """
    context = _context(seed)
    store = ArtifactStore(context.artifacts)
    frame = build_structure(atoms)
    if not 0 <= centre < len(frame):
        raise InputError(f"centre must be the index of one of the {len(frame)} atoms, from 0, got {centre}")
    context.charges = ionic_charges(frame)
    files = LearnerFiles(uncertainty=_file(store, uncertainty, "uncertainty", ".npz"))
    value = float(load_uncertainty_artifact(store, files)(frame, [centre])[0])
    screened = ScreenDoc(
        campaign=_NAME, round=0, walker=0, step=0, segment_uuid=_NO_JOB, model_version=0, threshold=0.0, n_atoms=len(frame),
        n_uncertain=0, n_triggering=0, max_uncertainty=value, quantiles={}, centres=[], seconds=0.0,
    )  # fmt: skip
    chosen = CentreDoc(atom=centre, species=frame.get_chemical_symbols()[centre], uncertainty=value)
    return context, save_frame(store, frame), screened, _NO_JOB, chosen, files, embedding, n_keep


def relax(_: object, crop: object, uncertainty: object, attempt: int = 0) -> Arguments:
    """Make the arguments of a relaxation.

    Parameters
    ----------
    crop
        One :class:`~idealflow.core.Crop`; or the crops of a search, as a CropDoc or the output of its job.
    uncertainty
        The object, or the file that its ``save`` wrote.
    attempt
        Which of the relaxed crops is returned, best first.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel, crop_search
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> crops = crop_search(u, crystal, 3, 1, np.random.default_rng(0))
    >>> context, doc, _, files, attempt = relax(None, list(crops)[0], u)
    >>> doc.atom, len(doc.chosen), attempt
    (3, 1, 0)
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
    """Make the arguments of the label of one structure.

    Parameters
    ----------
    atoms
        Anything :func:`~idealflow.workflow.frames.build.build_structure` takes; or the structure of an earlier stage's
        document, as it is or as the output of its job (``relax.output.structure``).
    request
        Request key, by which the label is found.

    Examples
    --------
    >>> context, structure, request, origin = label(None, {"element": "Cu", "cubic": True})
    >>> context.campaign, len(structure.numbers), request
    ('alone', 4, 'alone')
    """
    structure = atoms if isinstance(atoms, StoredStructure | OutputReference) else to_stored(build_structure(atoms))
    return _context(), structure, request, "bootstrap"


def _context(seed: int = 0) -> StageContext:
    """Make the context of a stage without a campaign: the folders of the settings, else folders in the working directory."""
    site = Settings()
    artifacts = site.artifacts or "idealflow_artifacts"
    artifacts = artifacts if "://" in artifacts else str(Path(artifacts).absolute())
    work = str(Path(site.work or "idealflow_work").absolute())
    return StageContext(campaign=_NAME, round=0, seed=seed, artifacts=artifacts, work=work)


def _file(store: ArtifactStore, source: Any, what: str, suffix: str) -> Artifact:
    """Store an object that has ``save``, or the file that it wrote, as an artifact."""
    if isinstance(source, (str, Path)):
        if not Path(source).is_file():
            raise InputError(
                f"{what} file {source} does not exist; give the file that {what}.save(path) wrote, or the object"
            )
        if not leans_on(source):
            return store.put_file(Path(source), suffix=suffix)
        source = load_uncertainty(source)  # the files that it leans on lie in another store
    if not hasattr(source, "save"):
        raise InputError(f"{what} must be an object with save(path), or the file it wrote, got {type(source).__name__}")
    if what == "uncertainty":
        check_registered(type(source))
    with TemporaryDirectory() as folder:
        source.save(Path(folder) / "saved")
        return store.put_file(Path(folder) / "saved", suffix=suffix)
