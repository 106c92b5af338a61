"""Labels brought back into a campaign: checked, and stored with what asked for them, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.core.structure import of_the_label, set_label
from idealflow.errors import InputError, LabelError, did_you_mean
from idealflow.labelling import Label
from idealflow.provenance import Campaign
from idealflow.schemas import LabelledDoc
from idealflow.workflow.frames.encode import to_atoms
from idealflow.workflow.outside.doubts import doubts
from idealflow.workflow.outside.matching import order_of
from idealflow.workflow.outside.requests import awaited
from idealflow.workflow.outside.returned import ReturnedLabel

__all__ = ["BroughtLabels", "bring_labels"]

_SAME = 1e-6  # eV, eV/Å, eV/Å³; what tells the same label given twice from another one


@dataclass(frozen=True)
class BroughtLabels:
    """How many labels were brought back.

    Attributes
    ----------
    stored, failed
        Labels, and messages that there is none, that were stored.
    already
        Labels that were stored before.
    awaited
        Labels of the present round that are still awaited.
    without_stress
        Of those that were stored, labels of periodic cells that came without a stress.

    Examples
    --------
    >>> BroughtLabels(stored=3, failed=0, already=1, awaited=2).awaited
    2
    """

    stored: int
    failed: int
    already: int
    awaited: int
    without_stress: int = 0


def bring_labels(
    campaign: Campaign, returned: Sequence[ReturnedLabel], engine: str | None = None, *, accept_doubtful: bool = False
) -> BroughtLabels:
    """Store labels that came back; all of them in one step, or none.

    Parameters
    ----------
    campaign
        The campaign, whose store may be written to.
    returned
        The labels.
    engine
        Program and version, for labels that do not say it.
    accept_doubtful
        Take labels with energies or units that do not fit, and of another engine than the labels before.

    Raises
    ------
    InputError
        Naming the label and the rule: an unknown key, a changed structure, values that are not finite, no engine, a label that
        is there already with other values, and what is doubtful.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> label = ReturnedLabel("tiny/bootstrap/000099", "cells.extxyz", failed="SCF did not converge")
    >>> bring_labels(sample_campaign(), [label], "VASP 6.4.2")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: cells.extxyz: campaign tiny never asked for tiny/bootstrap/000099; give ...
    """
    waiting = {doc.request_key: doc for doc in awaited(campaign)}
    stored = _stored(campaign, [label.key for label in returned])
    new: dict[str, dict[str, Any]] = {}
    labels: dict[str, Atoms] = {}
    already = 0
    for label in returned:
        doc = waiting.get(label.key) or stored.get(label.key)
        if doc is None or doc.structure is None:
            raise InputError(
                f"{label.where}: campaign {campaign.name} never asked for {label.key}{did_you_mean(label.key, waiting)}; give "
                "the campaign that wrote the request"
            )
        values = _checked(label, to_atoms(doc.structure), engine)
        if doc.state == "awaited":
            new[label.key] = values
            if values["state"] == "accepted":
                labels[label.key] = set_label(
                    of_the_label(to_atoms(doc.structure)), values["energy"], values["forces"], values["stress"]
                )
        elif _is_same(doc, values):
            already += 1
        else:
            raise InputError(
                f"{label.where}: {label.key} has a label already ({doc.state}, by {doc.engine or doc.method}), which is never "
                "replaced; leave it out"
            )
    present = next((doc for doc in waiting.values()), None)
    if present is not None and not accept_doubtful and (found := _doubtful(campaign, present, new, labels)):
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise InputError(f"{found[0]}{more}; mend the labels, or give --accept-doubtful to take them as they are")
    _store(campaign, waiting, new)
    failed = sum(values["state"] == "failed" for values in new.values())
    stressless = sum(atoms.pbc.all() and new[key]["stress"] is None for key, atoms in labels.items())
    return BroughtLabels(len(new) - failed, failed, already, len(awaited(campaign)), stressless)


def _stored(campaign: Campaign, keys: Sequence[str]) -> dict[str, LabelledDoc]:
    """Documents of requests that have their label, by request key; the last one where a round asked again."""
    docs: list[LabelledDoc] = [*campaign.labels(request_key={"$in": list(keys)})]
    docs += campaign.substructures(request_key={"$in": list(keys)})
    return {doc.request_key: doc for doc in sorted(docs, key=lambda doc: doc.round) if doc.state != "awaited"}


def _checked(label: ReturnedLabel, asked: Atoms, engine: str | None) -> dict[str, Any]:
    """The fields of a document that a label decides."""
    made_by = label.engine or engine
    if not made_by and label.atoms is not None:
        raise InputError(
            f"{label.where}: nothing says what computed {label.key}; give --engine 'PROGRAM VERSION', or `engine` with every "
            "label"
        )
    values: dict[str, Any] = {"engine": made_by, "seconds": label.seconds, "core_seconds": label.seconds or None}
    if label.atoms is None:
        return values | {"state": "failed", "cause": label.failed}
    try:
        order = order_of(label.atoms, asked)
        results = label.atoms.calc.results
        forces = np.asarray(results["forces"], dtype=float)
        made = Label(results["energy"], forces[order], results.get("stress") if asked.pbc.all() else None)
    except (InputError, LabelError) as problem:
        raise InputError(f"{label.where}: {label.key}: {problem}") from problem
    return values | {
        "state": "accepted",
        "energy": made.energy,
        "forces": made.forces.tolist(),
        "stress": None if made.stress is None else made.stress.tolist(),
    }


def _is_same(doc: LabelledDoc, values: Mapping[str, Any]) -> bool:
    """Whether a label that is there already is the one that came back."""
    if doc.state != values["state"] or doc.energy is None or doc.forces is None:
        return bool(doc.state == values["state"])
    pairs: list[tuple[Any, Any]] = [(doc.energy, values["energy"]), (doc.forces, values["forces"])]
    if values["stress"] is not None:
        if doc.stress is None:
            return False
        pairs.append((doc.stress, values["stress"]))
    return all(np.allclose(stored, given, rtol=0.0, atol=_SAME) for stored, given in pairs)


def _doubtful(
    campaign: Campaign, present: LabelledDoc, new: Mapping[str, Mapping[str, Any]], labels: Mapping[str, Atoms]
) -> list[str]:
    """What speaks against the labels, compared with others of the same method as a present request's."""
    engines = {doc.engine for doc in _learned(campaign, present.labeller_key) if doc.engine}
    made_by = {values["engine"] for values in new.values() if values["engine"]}
    others = sorted(made_by - engines) if engines else []
    found = [f"labels so far are by {', '.join(sorted(engines))}, these by {others[0]}"] if others else []
    if not engines and len(made_by) > 1:
        found.append(f"the labels are by several engines: {', '.join(sorted(made_by))}")
    if not labels:
        return found
    state = campaign.state()
    model = None if state is None or state.learner is None else campaign.model().calculator()
    known = campaign.dataset() if model is not None else []
    of_the_method = [atoms for atoms in known if atoms.info.get("method", present.method) == present.method]
    return found + doubts(labels, of_the_method, model)


def _learned(campaign: Campaign, labeller_key: str) -> list[LabelledDoc]:
    same = {"state": "accepted", "labeller_key": labeller_key}
    return [*campaign.labels(**same), *campaign.substructures(**same)]


def _store(campaign: Campaign, waiting: Mapping[str, LabelledDoc], new: Mapping[str, Mapping[str, Any]]) -> None:
    """Give the documents that wait their labels, all in one step; a cell that was asked for twice gets it twice."""
    by_geometry = {waiting[key].geometry_key: values for key, values in new.items()}
    keys = [key for key, doc in waiting.items() if doc.geometry_key in by_geometry]
    state = campaign.state()
    query = {
        "output.campaign": campaign.name,
        "output.round": 0 if state is None else state.round,
        "output.state": "awaited",
        "output.request_key": {"$in": keys},
    }
    entries = []
    for entry in campaign.store.query(query, load=True):
        entry.pop("_id", None)
        entry["output"] |= by_geometry[entry["output"]["geometry_key"]]
        entries.append(entry)
    if entries:
        campaign.store.update(entries, key=["uuid", "index"])
