"""The check of a dataset before the first fit: a few of its structures are labelled again and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ase import Atoms

from idealflow.errors import CampaignError, InputError
from idealflow.labelling import geometry_key
from idealflow.schemas import LabelledDoc, StageContext
from idealflow.workflow.frames.agreement import chosen, compared
from idealflow.workflow.frames.encode import labelled_atoms, to_atoms, to_stored
from idealflow.workflow.jobs.progress import note
from idealflow.workflow.jobs.stage import current_store
from idealflow.workflow.stages.label import LabelMaker

__all__ = ["check_dataset", "check_request", "to_check"]

_REMEDY = "mend the file or bootstrap.keys, or set bootstrap.dataset_check to 0 to take it as it is"


def to_check(frames: Sequence[Atoms], n: int) -> dict[int, Atoms]:
    """The structures by which a dataset is checked, by their number."""
    return {i: frames[i] for i in chosen(frames, n)}


def check_request(campaign: str, atoms: Atoms, label: LabelMaker, number: int) -> tuple[str, int]:
    """Request key of a check's label, and the part of its job's name that says what is labelled and by what.

    Another dataset or another labeller makes another job; the same ones meet the label that is stored.
    """
    what = geometry_key(to_atoms(to_stored(atoms)), {"labeller": label.key}).rpartition("-")[2][:12]
    return f"{campaign}/check/{what}/{number:06d}", int(what, 16)


def check_dataset(
    path: str, frames: Sequence[Atoms], checks: Mapping[str, int], context: StageContext
) -> tuple[int, dict[str, str]]:
    """Compare a dataset with the labels of its check, and say what was found.

    Parameters
    ----------
    path
        Named in messages.
    checks
        Request key of each label → number of its structure.

    Returns
    -------
    n_labelled, failed
        Number of labels; request key → cause of those that failed.

    Raises
    ------
    InputError
        If the labeller disagrees, naming the factor or sign that would explain it.
    CampaignError
        If no label could be computed, or the dataset has changed meanwhile.
    """
    if not checks:
        note("dataset", "the dataset was not compared with the labeller")
        return 0, {}
    query = {"output.kind": "label", "output.campaign": context.campaign, "output.origin": "check"}
    stored = current_store().query(query, properties=["output"], load=True)
    docs = {doc.request_key: doc for doc in (LabelledDoc.model_validate(entry["output"]) for entry in stored)}
    lost = [request for request in checks if request not in docs]
    if lost:
        raise CampaignError(f"{len(lost)} labels of the dataset's check were lost; run the campaign's jobs again")
    failed = {request: docs[request].cause or "unknown" for request in checks if docs[request].state == "failed"}
    numbers = {request: number for request, number in checks.items() if request not in failed}
    causes = "; ".join(f"{count}× {cause}" for cause, count in Counter(failed.values()).most_common())
    if not numbers:
        raise CampaignError(
            f"dataset {path} cannot be compared with the labeller, all {len(failed)} labels failed: {causes}; mend the labeller, "
            "or set bootstrap.dataset_check to 0 to go on without the check"
        )
    computed = [labelled_atoms(docs[request]) for request in numbers]
    given = [frames[number] for number in numbers.values()]
    for one, other in zip(given, computed, strict=True):
        if geometry_key(to_atoms(to_stored(one)), {}) != geometry_key(other, {}):
            raise CampaignError(f"dataset {path} has changed while it was checked; run the same command again")
    found = compared(given, computed)
    which = f"{'structure' if len(numbers) == 1 else 'structures'} {', '.join(str(i) for i in numbers.values())}"
    method = next(iter(docs[request].method for request in numbers))
    if found.disagreed:
        raise InputError(
            f"dataset {path} does not agree with the labeller, {method}, on {which}: {'; '.join(found.disagreed)}; {_REMEDY}"
        )
    if found.agreed:
        note("dataset", f"the dataset agrees with the labeller, {method}, on {which}: {', '.join(found.agreed)}")
    for message in [*found.unknown, *([f"{len(failed)} labels of the check failed: {causes}"] if failed else [])]:
        note("dataset", f"check of the dataset: {message}")
    return len(numbers), failed
