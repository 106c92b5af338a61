"""Any two models against the reference, on frames of any origin, in a folder of its own: no campaign is written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from jobflow import Flow

from idealflow.analysis import FrameError, compare_on_frames
from idealflow.errors import InputError
from idealflow.forcefields import ForceField, load_force_field
from idealflow.labelling import geometry_key
from idealflow.provenance import Campaign, CampaignFolder
from idealflow.schemas import LabelledDoc, StageContext
from idealflow.workflow.drivers.run_flow import FlowRunner
from idealflow.workflow.folder.directory import CampaignDirectory
from idealflow.workflow.frames.encode import labelled_atoms, to_stored
from idealflow.workflow.jobs.stage import named
from idealflow.workflow.stages.label import LabelMaker

__all__ = ["Comparison", "compare_models", "label_frames", "model_of"]

_AT_ONCE = 50  # labels of a flow; what a killed process had labelled before is kept in any case
_NAME = "comparison"


@dataclass(frozen=True)
class Comparison:
    """Two models on labelled frames.

    Attributes
    ----------
    method
        The reference; stand-ins for DFT are named as such.
    frames
        The frames that were labelled, with energy, forces and maybe stress.
    errors
        For each model, by name, its error on each of these frames.
    failed
        Causes of failed labels, by the number of the frame.

    Examples
    --------
    >>> Comparison(method="EMT", frames=[], errors={"first": [], "last": []}, failed={}).failed
    {}
    """

    method: str
    frames: list[Atoms]
    errors: dict[str, list[FrameError]]
    failed: dict[int, str]


def model_of(text: str, campaign: Campaign) -> ForceField:
    """Find a force field by what a user calls it.

    Parameters
    ----------
    text
        ``first``, ``last`` or the number of a version, of ``campaign``; the folder of another campaign, for its last model, or
        ``FOLDER:first``, ``FOLDER:3``; or a file that a force field's ``save`` or `idealflow export --model` wrote.
    campaign
        The campaign that is meant where no folder is named.

    Raises
    ------
    InputError
        If there is no such model.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> type(model_of("last", campaign)).__name__
    'LocalForceField'
    >>> model_of("lst", campaign)
    Traceback (most recent call last):
    idealflow.errors.InputError: no model 'lst': give first, last, a version, a campaign's folder, FOLDER:VERSION, or a file
    """
    if (version := _version(text)) is not None:
        return campaign.model(*version)
    path = Path(text)
    if CampaignFolder(path).exists():
        return Campaign.open(path).model()
    if path.is_file():
        return load_force_field(path)
    folder, _, end = text.rpartition(":")
    if folder and CampaignFolder(folder).exists() and (version := _version(end)) is not None:
        return Campaign.open(Path(folder)).model(*version)
    raise InputError(f"no model {text!r}: give first, last, a version, a campaign's folder, FOLDER:VERSION, or a file")


def _version(text: str) -> tuple[int | None] | None:
    """The version in brackets; None if it is none."""
    if text in ("first", "last"):
        return (0,) if text == "first" else (None,)
    return (int(text),) if text.isdecimal() else None


def label_frames(label: LabelMaker, frames: Sequence[Atoms], folder: Path) -> tuple[list[Atoms | None], dict[int, str]]:
    """Label frames, each once: those that the folder has labels of, made with the same settings, are not labelled again.

    Parameters
    ----------
    label
        How they are labelled.
    frames
        Structures.
    folder
        Where the labels are kept; it is made if need be, and holds no campaign.

    Returns
    -------
    frames
        In the given order, with energy (eV), forces (eV/Å) and, where there is one, stress (eV/Å³); None where the label failed.
    failed
        Causes, by number of the frame.

    Raises
    ------
    InputError
        If the folder holds a campaign.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> found, failed = label_frames(label, [bulk("Cu", a=3.6)], Path("labels"))
    >>> round(found[0].get_potential_energy(), 2), failed
    (-0.01, {})
    """
    directory = CampaignDirectory(folder)
    if directory.exists():
        raise InputError(f"{folder} holds a campaign, which a comparison must not write to; choose another folder")
    with directory.locked():
        store = directory.job_store()
        context = StageContext(campaign=_NAME, round=0, seed=0, artifacts=directory.artifacts, work=directory.work)
        directory.jobs.mkdir(exist_ok=True)
        runner = FlowRunner(store, str(directory.jobs))
        jobs = []
        for frame in frames:
            key = geometry_key(frame, {"label": label.science}).rpartition("-")[2]
            new = label.make(context, to_stored(frame), request=f"{_NAME}/{key}", origin="evaluation")
            jobs.append(named(new, context, "evaluation-label", int(key[:12], 16), int(key[12:24], 16)))
        once = list({job.uuid: job for job in jobs}.values())
        for start in range(0, len(once), _AT_ONCE):
            runner.run(Flow(once[start : start + _AT_ONCE], name=_NAME))
        return _labelled(store, [job.uuid for job in jobs], frames)


def _labelled(store: Any, uuids: Sequence[str], frames: Sequence[Atoms]) -> tuple[list[Atoms | None], dict[int, str]]:
    found: list[Atoms | None] = []
    failed: dict[int, str] = {}
    for number, (uuid, frame) in enumerate(zip(uuids, frames, strict=True)):
        entry = store.query_one({"uuid": uuid}, properties=["output"], load=True)
        doc = None if entry is None else LabelledDoc.model_validate(entry["output"])
        if doc is None or doc.state != "accepted":
            failed[number] = (None if doc is None else doc.cause) or "the label left no document"
            found.append(None)
            continue
        atoms = labelled_atoms(doc)
        atoms.info |= {name: value for name, value in frame.info.items() if name not in atoms.info}
        found.append(atoms)
    return found, failed


def compare_models(
    models: dict[str, ForceField], frames: Sequence[Atoms], label: LabelMaker, folder: Path
) -> Comparison:
    """Label frames and compare models with the labels.

    Parameters
    ----------
    models
        Force fields by the names that they have in the result.
    frames
        Structures, as of a trajectory.
    label, folder
        As for :func:`label_frames`.

    Raises
    ------
    InputError
        As :func:`label_frames`, and if this machine can not label the frames.

    Examples
    --------
    >>> from idealflow import AseLabeller
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> found = compare_models({"last": campaign.model()}, campaign.trajectory()[:2], label, Path("compared"))
    >>> found.method, len(found.errors["last"]), found.errors["last"][0].force < 0.1
    ('EMT', 2, True)
    """
    label.check_site(sorted({symbol for frame in frames for symbol in frame.get_chemical_symbols()}))
    labelled, failed = label_frames(label, frames, folder)
    done = [frame for frame in labelled if frame is not None]
    calculators = {name: model.calculator() for name, model in models.items()}
    return Comparison(label.method, done, compare_on_frames(calculators, done), failed)
