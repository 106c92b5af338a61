"""Labels of a round: accepted ones (also of earlier rounds, if they came late), failed ones, and those that are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from jobflow import JobStore

from idealflow.schemas import StageContext, SubstructureDoc
from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.stages.awaited import refuse_awaited
from idealflow.workflow.stages.label import LabelMaker
from idealflow.workflow.stages.lost_labels import LostLabel, late_labels, lost_labels

__all__ = ["RoundLabels", "collect", "substructures_of"]


@dataclass(frozen=True)
class RoundLabels:
    """Label documents of one round.

    Attributes
    ----------
    docs
        Documents of the round's own labels, accepted and failed, sorted by request key.
    accepted
        Accepted labels, sorted by request key, also those of earlier rounds that were lost and have arrived since.
    lost
        (round, walker, step, atom) of requests of this and earlier rounds whose job left no document.

    Examples
    --------
    >>> labels = RoundLabels(docs=[], accepted=[], lost=[(3, 0, 40, 77)])  # the only label of round 3 was lost
    >>> labels.keys, labels.failed_centres, labels.causes
    ([], [], {})
    """

    docs: list[SubstructureDoc]
    accepted: list[SubstructureDoc]
    lost: list[LostLabel]

    @property
    def keys(self) -> list[str]:
        """Request keys of the accepted labels."""
        return [doc.request_key for doc in self.accepted]

    @property
    def failed(self) -> list[SubstructureDoc]:
        """Failed labels, every attempt counted."""
        return [doc for doc in self.docs if doc.state == "failed"]

    @property
    def last_attempts(self) -> list[SubstructureDoc]:
        """The last attempt at each centre of the round."""
        # docs are sorted by attempt, so the last one stays
        return list({(doc.walker, doc.step, doc.atom): doc for doc in self.docs}.values())

    @property
    def failed_centres(self) -> list[SubstructureDoc]:
        """Last attempts that failed: centres without any label."""
        return [doc for doc in self.last_attempts if doc.state == "failed"]

    @property
    def causes(self) -> dict[str, int]:
        """Cause of failure → how often, every attempt counted."""
        return dict(Counter(_cause(doc) for doc in self.failed))

    @property
    def n_uncropped(self) -> int:
        """Number of failed labels for which no crop was found."""
        return sum(doc.structure is None for doc in self.docs)


def collect(
    jobstore: JobStore,
    context: StageContext,
    ledger: Ledger,
    lost: Sequence[LostLabel] = (),
    label: LabelMaker | None = None,
) -> RoundLabels:
    """Read a round's labels from the store, and those of earlier rounds that were lost and have arrived since.

    Parameters
    ----------
    jobstore, context
        Where the labels are; campaign and round.
    ledger
        What was learned before.
    lost
        (round, walker, step, atom) of earlier labels whose job was lost.
    label
        The present labeller's Maker; labels by other methods do not count. None: all labels count.

    Raises
    ------
    LabelsAwaitedError
        If some of them are computed elsewhere and not brought back yet.

    Examples
    --------
    >>> from maggma.stores import MemoryStore
    >>> store = JobStore(MemoryStore())
    >>> store.connect()
    >>> context = StageContext(campaign="li", round=3, seed=0, artifacts="artifacts", work="work")
    >>> collect(store, context, Ledger()).accepted
    []
    """

    def counts(doc: SubstructureDoc) -> bool:
        return label is None or label.learnable(doc)

    docs = [doc for doc in _of_round(jobstore, context) if counts(doc)]
    refuse_awaited(docs)
    late = late_labels(jobstore, context, lost)
    accepted = {doc.request_key: doc for doc in docs if doc.state == "accepted"}
    # a cell that was asked for again has the same key, and may have been learned meanwhile, wait, or be of this round
    known = {*ledger.keys, *ledger.waiting, *accepted}
    accepted |= {doc.request_key: doc for doc in late if doc.request_key not in known and counts(doc)}
    missing = {*lost, *lost_labels(jobstore, context, docs)} - {
        (doc.round, doc.walker, doc.step, doc.atom) for doc in late
    }
    return RoundLabels(docs, [accepted[key] for key in sorted(accepted)], sorted(missing))


def substructures_of(jobstore: JobStore, campaign: str, keys: Collection[str]) -> list[SubstructureDoc]:
    """Read the labelled substructures of some request keys, sorted by key; of several with one key the latest.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> key = next(doc.learned[0] for doc in sample_campaign().updates() if doc.learned)
    >>> [doc.state for doc in substructures_of(sample_campaign().store, "tiny", [key])]
    ['accepted']
    """
    query = {"output.kind": "substructure", "output.campaign": campaign, "output.state": "accepted"}
    entries = jobstore.query(
        query | {"output.request_key": {"$in": sorted(keys)}},
        properties=["output"],
        load=True,
        sort={"output.round": 1},
    )
    docs = [SubstructureDoc.model_validate(entry["output"]) for entry in entries]
    latest = {doc.request_key: doc for doc in docs}
    return [latest[key] for key in sorted(latest)]


def _of_round(jobstore: JobStore, context: StageContext) -> list[SubstructureDoc]:
    """Read the label documents of the round, sorted by request key."""
    query = {"output.kind": "substructure", "output.campaign": context.campaign, "output.round": context.round}
    found = jobstore.query(query, properties=["output"], load=True)
    return sorted((SubstructureDoc.model_validate(entry["output"]) for entry in found), key=lambda doc: doc.request_key)


def _cause(doc: SubstructureDoc) -> str:
    """Tell why a label failed, in words that can be counted: without the figures of one search if there was no crop."""
    cause = doc.cause or "unknown"
    return cause.split(";")[0] if doc.structure is None else cause
