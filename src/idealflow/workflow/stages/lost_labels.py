"""Labels whose job was lost: the campaign's state lists them, and an update learns them late if the job is run again.

A job that is lost together with its worker, or that FireWorks has given up, leaves no document. The round ends without its label,
the atom may trigger again, and the state lists the request. If `lpad rerun_fws` makes the label after all, the next update
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
    """List the centres of the context's round whose last attempt left no document, as (round, walker, step, atom).

    Parameters
    ----------
    store
        Where the round's screens and relaxations are, which tell what was asked for.
    context
        Campaign and round.
    docs
        The round's label documents, accepted and failed.

    Examples
    --------
    Round 2 of the sample campaign asked for one label, which is there; without its document it would count as lost:

    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> context = StageContext(campaign="tiny", round=2, seed=1, artifacts="artifacts", work="work")
    >>> lost_labels(campaign.store, context, campaign.substructures(round=2))
    []
    >>> lost_labels(campaign.store, context, docs=[])
    [(2, 0, 40, 77)]
    """
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
    """Read the accepted labels of earlier rounds that were lost and have arrived since, sorted by request key.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> context = StageContext(campaign="tiny", round=5, seed=1, artifacts="artifacts", work="work")
    >>> [doc.request_key for doc in late_labels(sample_campaign().store, context, lost=[(2, 0, 40, 77), (3, 0, 50, 12)])]
    ['tiny/w0000/s000000000040/a000000077/t00']
    """
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
