"""Methods of the labels that a campaign has learned, and which of these labels training must not use as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from jobflow import JobStore

from idealflow.errors import InputError
from idealflow.provenance import Campaign
from idealflow.schemas import LabelledDoc
from idealflow.schemas.campaign import OtherMethod
from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.stages.label import LabelMaker

__all__ = ["LearnedLabels", "check_choice", "documents", "learned_labels", "left_out", "refits"]


@dataclass(frozen=True)
class LearnedLabels:
    """Request keys of the labels in a ledger, sorted by method; structures of dataset files are not among them.

    Attributes
    ----------
    own
        Labels made by the present method.
    other
        Labels made by another method → the name of that method.
    without_vacuum
        Labels that version 0.1.0 made without vacuum, of structures that are not periodic in all directions.

    Examples
    --------
    >>> found = LearnedLabels(own=frozenset({"a"}), other={"b": "EMT (stands in for DFT)"}, without_vacuum=frozenset({"c"}))
    >>> sorted(left_out(found, "leave_out"))
    ['b', 'c']
    """

    own: frozenset[str]
    other: dict[str, str]
    without_vacuum: frozenset[str]


def learned_labels(store: JobStore, campaign: str, ledger: Ledger, label: LabelMaker) -> LearnedLabels:
    """Sort the labels that a campaign has learned by their method, those left out of training included.

    Of all labels made with the same settings only one document is read whole, so the cost does not grow with the campaign.

    Parameters
    ----------
    store, campaign
        Where the labels are, and the name of the campaign.
    ledger
        What was learned.
    label
        The present method.

    Examples
    --------
    The sample campaign was labelled with EMT; seen from another labeller all its labels are another method's:

    >>> from idealflow import AseLabeller
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> ledger = Ledger.load(campaign.artifacts, campaign.state().learner.ledger)
    >>> for kind in ("emt.EMT", "lj.LennardJones"):
    ...     label = LabelMaker(AseLabeller(f"ase.calculators.{kind}"))
    ...     found = learned_labels(campaign.store, "tiny", ledger, label)
    ...     print(len(found.own), len(found.other))
    13 0
    0 13
    """
    keys = {key for key in [*ledger.keys, *ledger.left_out] if not key.startswith("dataset:")}
    if not keys:
        return LearnedLabels(frozenset(), {}, frozenset())
    seen = Campaign(store, campaign)
    boxed = frozenset(seen.labels_without_vacuum()) & keys
    names = ("request_key", "labeller_key", "method")
    query = {"output.campaign": campaign, "output.kind": {"$in": ["label", "substructure"]}, "output.state": "accepted"}
    found: dict[str, tuple[str, str]] = {}
    examples: dict[str, str] = {}
    for entry in store.query(query, properties=["uuid", *(f"output.{name}" for name in names)]):
        key, settings, method = (entry["output"][name] for name in names)
        if key in keys:
            found[key] = (settings, method)
            if key not in boxed:
                examples[settings] = entry["uuid"]
    own = {settings: label.made(_whole(store, uuid)) for settings, uuid in examples.items()}
    mine = frozenset(key for key, (settings, _) in found.items() if key not in boxed and own[settings])
    other = {key: method for key, (_, method) in found.items() if key not in boxed and key not in mine}
    return LearnedLabels(mine, other, boxed)


def left_out(sorted_labels: LearnedLabels, choice: OtherMethod | None) -> set[str]:
    """Return the request keys of the learned labels that training must not use as they are.

    Labels without vacuum are always among them, labels of another method unless ``choice`` is ``keep`` or None.

    Examples
    --------
    >>> found = LearnedLabels(own=frozenset({"a"}), other={"b": "EMT (stands in for DFT)"}, without_vacuum=frozenset({"c"}))
    >>> sorted(left_out(found, "keep")), sorted(left_out(found, "relabel"))
    (['c'], ['b', 'c'])
    """
    out = set(sorted_labels.without_vacuum)
    return out if choice in (None, "keep") else out | set(sorted_labels.other)


def check_choice(campaign: str, sorted_labels: LearnedLabels, label: LabelMaker) -> None:
    """Refuse to mix labels of two methods if nobody asked for it.

    Raises
    ------
    InputError
        If labels of another method were learned and ``label.other_method`` does not say what becomes of them.

    Examples
    --------
    >>> from idealflow import AseLabeller
    >>> found = LearnedLabels(own=frozenset(), other={"b": "xTB"}, without_vacuum=frozenset())
    >>> check_choice("li", found, LabelMaker(AseLabeller("ase.calculators.emt.EMT"), other_method="keep"))
    >>> check_choice("li", found, LabelMaker(AseLabeller("ase.calculators.emt.EMT")))
    Traceback (most recent call last):
    idealflow.errors.InputError: campaign li has learned 1 by xTB with other settings than the present labeller's (...
    """
    if sorted_labels.other and label.other_method is None:
        counted = Counter(sorted_labels.other.values())
        told = ", ".join(f"{count} by {method}" for method, count in sorted(counted.items()))
        raise InputError(
            f"campaign {campaign} has learned {told} with other settings than the present labeller's ({label.method}); say what "
            "becomes of them: label.other_method: keep (training uses both), leave_out (training uses the present method's "
            "only) or relabel (they are labelled again, and the model is fitted anew)"
        )


def refits(n_used: int, n_out: int, choice: OtherMethod) -> bool:
    """Decide whether the force field is fitted anew after labels were left out or made again.

    It is if there are at least two structures to fit to, and either new labels were made (``relabel``) or at least half of the
    old ones are left: a fit to fewer could know less than the model that learned them all.

    Parameters
    ----------
    n_used, n_out
        Structures that training uses now, and those that are left out.
    choice
        What becomes of labels of another method.

    Examples
    --------
    >>> refits(n_used=40, n_out=10, choice="leave_out"), refits(n_used=10, n_out=40, choice="leave_out")
    (True, False)
    """
    return n_used >= 2 and (choice == "relabel" or n_used >= n_out)


def documents(store: JobStore, campaign: str, keys: Iterable[str]) -> dict[str, LabelledDoc]:
    """Read the accepted labels of some request keys, whole; of several with one key the latest, which is the one learned.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> found = documents(sample_campaign().store, "tiny", ["tiny/bootstrap/000000", "tiny/bootstrap/000999"])
    >>> {key: doc.n_atoms for key, doc in found.items()}
    {'tiny/bootstrap/000000': 32}
    """
    query = {"output.campaign": campaign, "output.request_key": {"$in": sorted(keys)}, "output.state": "accepted"}
    entries = store.query(query, properties=["output"], load=True, sort={"output.round": 1})
    docs = [_as_label(entry["output"]) for entry in entries]
    return {doc.request_key: doc for doc in docs}


def _whole(store: JobStore, uuid: str) -> LabelledDoc:
    found = store.query_one({"uuid": uuid}, properties=["output"], load=True)
    return _as_label(found["output"])


def _as_label(output: dict[str, object]) -> LabelledDoc:
    fields = {name: value for name, value in output.items() if name in LabelledDoc.model_fields}
    return LabelledDoc.model_validate(fields | {"kind": "label"})
