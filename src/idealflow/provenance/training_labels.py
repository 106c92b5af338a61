"""Which of a campaign's accepted labels training uses or would use: they may stand together in one dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ase import Atoms

from idealflow.storage import read_shard_keys

if TYPE_CHECKING:
    from idealflow.provenance.campaign import Campaign

__all__ = ["given_structures", "training_labels"]

_ORIGINS = ("bootstrap", "relabelled", "substructure")
_FIELDS = ("request_key", "labeller_key", "method", "origin", "replaces", "round")


def training_labels(campaign: Campaign) -> dict[str, dict[str, Any]]:
    """Find the labels that training uses or would use, by request key.

    Left out are labels of evaluations and of a dataset's check, labels that training leaves out, and all others by a labeller
    of which training uses none. Where a structure was labelled again, the label that training uses is taken. Of several labels
    with the same key the latest is taken, which is the one that was learned.

    Returns
    -------
    dict
        ``request_key``, ``labeller_key``, ``method``, ``origin``, ``replaces`` and ``round`` of each label, by request key.

    Raises
    ------
    ArtifactError
        If the list of learned labels is needed and its file is missing or damaged.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> sorted({label["origin"] for label in training_labels(campaign).values()})
    ['bootstrap', 'substructure']
    """
    query = {
        "output.campaign": campaign.name,
        "output.kind": {"$in": ["label", "substructure"]},
        "output.state": "accepted",
    }
    names = [f"output.{name}" for name in _FIELDS]
    found: dict[str, dict[str, Any]] = {}
    for entry in campaign.store.query(query, properties=names, sort={"output.round": 1}):
        if entry["output"].get("origin") in _ORIGINS:
            found[entry["output"]["request_key"]] = entry["output"]
    state = campaign.state()
    anew = [output for output in found.values() if output["origin"] == "relabelled"]
    if state is None or state.learner is None:
        return {key: output for key, output in found.items() if output["origin"] != "relabelled"}
    if not anew and state.other_method is None and not state.n_without_vacuum:
        return found
    ledger = json.loads(campaign.fetch(state.learner.ledger).read_text())
    used, left_out = set(ledger["keys"]), set(ledger.get("left_out", ()))
    learned, replaced = _learned_anew(anew, used | left_out)
    out = left_out | replaced
    others = {found[key]["labeller_key"] for key in out & found.keys()}
    others -= {found[key]["labeller_key"] for key in used & found.keys()}
    return {
        key: output
        for key, output in found.items()
        if key in used
        or (
            key not in out
            and output["labeller_key"] not in others
            and (output["origin"] != "relabelled" or key in learned)
        )
    }


def given_structures(campaign: Campaign) -> list[Atoms]:
    """Read the labelled structures that the campaign began with (a dataset's, or an earlier campaign's) and training uses.

    Returns
    -------
    list of Atoms
        With energy (eV), forces (eV/Å) and, where given, stress (eV/Å³); ``info`` has ``origin: dataset``.

    Raises
    ------
    ArtifactError
        If a file is missing or damaged.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> given_structures(campaign)  # it made and labelled all of its structures itself
    []
    """
    state = campaign.state()
    if state is None or state.learner is None:
        return []
    ledger = json.loads(campaign.fetch(state.learner.ledger).read_text())
    found = read_shard_keys(campaign.artifacts, ledger["keys"])
    for key, atoms in found.items():
        atoms.info |= {"campaign": campaign.name, "origin": "dataset", "request_key": key}
    return list(found.values())


def _learned_anew(anew: Iterable[dict[str, Any]], known: set[str]) -> tuple[set[str], set[str]]:
    """Request keys of the new labels that were learned, and of the labels that they replace.

    Where relabelling was given up, its labels were not learned and replace nothing.
    """
    known, learned, replaced = set(known), set(), set()
    # a key begins with that of the label it replaces, which may be such a label itself
    for output in sorted(anew, key=lambda output: -len(output["request_key"])):
        if output["request_key"] in known:
            learned.add(output["request_key"])
            replaced.add(output["replaces"])
            known.add(output["replaces"])
    return learned, replaced
