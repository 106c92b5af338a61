"""Labels whose job was lost: they are listed in the campaign's state, and learned late if the job is run again.

A job that is lost together with its worker (or that FireWorks has given up) leaves no document. The round ends without its label,
the atom may trigger again, and the request is listed. If `lpad rerun_fws` produces the label after all, the next update
learns it; no earlier round is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobflow import JobStore

from idealflow.schemas import StageContext, SubstructureDoc

__all__ = ["LostLabel", "late_labels", "lost_labels"]

#: (round, walker, step, atom) of a request
LostLabel = tuple[int, int, int, int]


def lost_labels(store: JobStore, context: StageContext, docs: Sequence[SubstructureDoc]) -> list[LostLabel]:
    """Centres of this round whose last attempt left no label, given the round's label documents."""
    round_ = {"output.campaign": context.campaign, "output.round": context.round}
    labelled = {(doc.walker, doc.step, doc.atom, doc.attempt) for doc in docs}
    asked = set()
    for entry in store.query({**round_, "output.kind": "screen"}, properties=["output"], load=True):
        screen = entry["output"]
        asked |= {(screen["walker"], screen["step"], centre["atom"], 0) for centre in screen["centres"]}
    names = ("walker", "step", "atom", "attempt")
    properties = [f"output.{name}" for name in names]
    for entry in store.query({**round_, "output.kind": "relaxation"}, properties=properties):
        asked.add(tuple(entry["output"][name] for name in names))
    return sorted({(context.round, *request[:3]) for request in asked - labelled})


def late_labels(store: JobStore, context: StageContext, lost: Sequence[LostLabel]) -> list[SubstructureDoc]:
    """Accepted labels of earlier rounds that were lost, and have arrived since, in key order."""
    if not lost:
        return []
    query = {
        "output.kind": "substructure",
        "output.campaign": context.campaign,
        "output.state": "accepted",
        "output.round": {"$in": sorted({request[0] for request in lost})},
    }
    docs = [
        SubstructureDoc.model_validate(entry["output"])
        for entry in store.query(query, properties=["output"], load=True)
    ]
    late = [doc for doc in docs if (doc.round, doc.walker, doc.step, doc.atom) in set(lost)]
    return sorted(late, key=lambda doc: doc.request_key)
