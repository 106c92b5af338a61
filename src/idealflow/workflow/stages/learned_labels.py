"""By what method the labels were made that a campaign learned, and which of them training must not use as they are."""

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
    """Request keys of the labels in a ledger, by what they are; structures of dataset files are in none.

    Attributes
    ----------
    own
        Of the present method.
    other
        Of another method → the name of it.
    without_vacuum
        Made by version 0.1.0 without vacuum, of structures that are not periodic in all directions.
    """

    own: frozenset[str]
    other: dict[str, str]
    without_vacuum: frozenset[str]


def learned_labels(store: JobStore, campaign: str, ledger: Ledger, label: LabelMaker) -> LearnedLabels:
    """Sort the labels that a campaign has learned, those left out of training included, by their method.

    Labels with the same settings are looked at once: one document of each is read whole.
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
    """Request keys of the learned labels that training must not use as they are."""
    out = set(sorted_labels.without_vacuum)
    return out if choice in (None, "keep") else out | set(sorted_labels.other)


def check_choice(campaign: str, sorted_labels: LearnedLabels, label: LabelMaker) -> None:
    """Refuse to mix methods unasked.

    Raises
    ------
    InputError
        If labels of another method were learned and the config does not say what becomes of them.
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
    """Whether the force field is fitted anew to what training uses after labels were sorted out.

    Without new labels a fit to the few that are left could know less than the model that learned all.
    """
    return n_used >= 2 and (choice == "relabel" or n_used >= n_out)


def documents(store: JobStore, campaign: str, keys: Iterable[str]) -> dict[str, LabelledDoc]:
    """The accepted labels of request keys, whole; of several under one key the youngest, which was learned."""
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
