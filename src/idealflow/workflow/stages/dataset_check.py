"""The check of a dataset before the first fit: a few of its structures are labelled again, and the labels compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ase import Atoms

from idealflow.errors import CampaignError, InputError
from idealflow.labelling import geometry_key
from idealflow.schemas import LabelledDoc, StageContext
from idealflow.wording import counted
from idealflow.workflow.frames.agreement import chosen, compared
from idealflow.workflow.frames.encode import labelled_atoms, to_atoms, to_stored
from idealflow.workflow.jobs.job_store import current_store
from idealflow.workflow.jobs.progress import note
from idealflow.workflow.stages.awaited import refuse_awaited
from idealflow.workflow.stages.label import LabelMaker

__all__ = ["check_dataset", "check_request", "to_check"]

_REMEDY = "mend the file or bootstrap.keys, or set bootstrap.dataset_check to 0 to take it as it is"


def to_check(frames: Sequence[Atoms], n: int) -> dict[int, Atoms]:
    """Choose ``n`` structures that are labelled again to check a dataset; returns number → structure.

    :func:`~idealflow.workflow.frames.agreement.chosen` chooses them.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> frames = [bulk("Cu", a=a, cubic=True) for a in (3.4, 3.5, 3.6, 3.7)]
    >>> for atoms in frames:
    ...     atoms.calc = EMT()
    ...     energy = atoms.get_potential_energy()
    >>> list(to_check(frames, 2))
    [0, 2]
    """
    return {i: frames[i] for i in chosen(frames, n)}


def check_request(campaign: str, atoms: Atoms, label: LabelMaker, number: int) -> tuple[str, int]:
    """Name the label of a check, so that the same structure with the same labeller finds the label that is stored.

    Parameters
    ----------
    campaign
        Name of the campaign.
    atoms, label
        What is labelled, and by what.
    number
        Number of the check, from 0.

    Returns
    -------
    request, part
        Request key; number derived from structure and labeller, by which the job is named.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> request, part = check_request("li", bulk("Cu"), label, 0)
    >>> request == f"li/check/{part:012x}/000000"
    True
    >>> request == check_request("li", bulk("Cu", a=3.7), label, 0)[0]  # another structure is another request
    False
    """
    what = geometry_key(to_atoms(to_stored(atoms)), {"labeller": label.key}).rpartition("-")[2][:12]
    return f"{campaign}/check/{what}/{number:06d}", int(what, 16)


def check_dataset(
    path: str, frames: Sequence[Atoms], checks: Mapping[str, int], context: StageContext
) -> tuple[int, dict[str, str]]:
    """Compare a dataset with the labels of its check, and tell the user what was found.

    Parameters
    ----------
    path
        Path of the dataset, for messages.
    frames
        All its structures.
    checks
        Request key of each label → number of its structure.
    context
        The campaign's, whose store has the labels.

    Returns
    -------
    n_labelled, failed
        Number of accepted labels; request key of each failed one → its cause.

    Raises
    ------
    InputError
        If the labeller disagrees; names the factor or sign that would explain it.
    LabelsAwaitedError
        If some of the labels are computed elsewhere and not brought back yet.
    CampaignError
        If no label could be computed, or the dataset has changed meanwhile.

    Examples
    --------
    :func:`~idealflow.workflow.frames.agreement.compared` compares the labels. Without any the user is told so:

    >>> from idealflow.workflow.jobs.progress import noted
    >>> context = StageContext(campaign="li", round=0, seed=0, artifacts="artifacts", work="work")
    >>> with noted() as notes:
    ...     n_labelled, failed = check_dataset("cells.extxyz", [], {}, context)
    >>> n_labelled, notes
    (0, ['the dataset was not compared with the labeller'])
    """
    if not checks:
        note("dataset", "the dataset was not compared with the labeller")
        return 0, {}
    query = {"output.kind": "label", "output.campaign": context.campaign, "output.origin": "check"}
    stored = current_store().query(query, properties=["output"], load=True)
    docs = {doc.request_key: doc for doc in (LabelledDoc.model_validate(entry["output"]) for entry in stored)}
    lost = [request for request in checks if request not in docs]
    if lost:
        raise CampaignError(f"lost {counted(len(lost), 'label')} of the dataset's check; run the campaign's jobs again")
    refuse_awaited(docs[request] for request in checks)
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
    for message in [
        *found.unknown,
        *([f"{counted(len(failed), 'label')} of the check failed: {causes}"] if failed else []),
    ]:
        note("dataset", f"check of the dataset: {message}")
    return len(numbers), failed
