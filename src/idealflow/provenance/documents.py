"""A campaign's stored documents, typed: what each stage of it did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from idealflow.errors import InputError
from idealflow.schemas import (
    Artifact,
    BootstrapDoc,
    CampaignState,
    ConsolidationDoc,
    CropDoc,
    Document,
    EvaluationDoc,
    LabelledDoc,
    LearnerVersion,
    Lineage,
    ModelUpdateDoc,
    RelabelDoc,
    RelaxationDoc,
    ScreenDoc,
    SegmentDoc,
    SubstructureDoc,
)

__all__ = ["CampaignDocuments"]

Doc = TypeVar("Doc", bound=Document)

_COSTLY = ["segment", "screen", "crop", "relaxation", "substructure", "update"]


class CampaignDocuments:
    """The typed documents of a campaign, base of :class:`~idealflow.provenance.Campaign`, whose parameters it has.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> found = CampaignDocuments(sample_campaign().store, "tiny")
    >>> found.state().round, len(found.segments(walker=0))
    (8, 6)
    """

    def __init__(self, store: Any, name: str) -> None:
        self.store = store
        self.name = name
        store.connect()

    def outputs(self, kind: str, names: Iterable[str], **filters: Any) -> list[dict[str, Any]]:
        """Return some fields of all documents of a kind, as stored; what else is in them is not sent.

        Parameters
        ----------
        kind
            ``segment``, ``screen``, ``crop``, ``relaxation``, ``substructure``, ``label``, ``update``, ``state``, ...
        names
            Fields of its schema; dotted for parts of them. Documents of earlier versions lack those that came later.
        filters
            Fields and the values, or MongoDB conditions, that they must have; ``uuid`` is that of the job.

        Examples
        --------
        >>> from idealflow.provenance import sample_campaign
        >>> sample_campaign().outputs("screen", ["step", "n_triggering"], round=3)
        [{'step': 50, 'n_triggering': 2}]
        """
        query = {"output.kind": kind, "output.campaign": self.name}
        query |= {name if name == "uuid" else f"output.{name}": value for name, value in filters.items()}
        found = self.store.query(query, properties=[f"output.{name}" for name in names])
        return [dict(entry["output"]) for entry in found]

    def state(self) -> CampaignState | None:
        """Return the last committed state, None before the first."""
        found = self.store.query_one(
            {"output.kind": "state", "output.campaign": self.name},
            properties=["output"],
            sort={"output.round": -1},
            load=True,
        )
        return None if found is None else CampaignState.model_validate(found["output"])

    def segments(self, **filters: Any) -> list[SegmentDoc]:
        """Return the MD segments in order of round and walker; filters as for :meth:`substructures`."""
        return self._sorted(SegmentDoc, "segment", filters, "walker")

    def screens(self, **filters: Any) -> list[ScreenDoc]:
        """Return the screened frames in order of round and walker; filters as for :meth:`substructures`."""
        return self._sorted(ScreenDoc, "screen", filters, "walker")

    def updates(self, **filters: Any) -> list[ModelUpdateDoc]:
        """Return the model updates in order of round; filters as for :meth:`substructures`."""
        return self._sorted(ModelUpdateDoc, "update", filters, "version_before")

    def bootstrap(self) -> BootstrapDoc | None:
        """Return the bootstrap, None before it is done."""
        return next(self._documents(BootstrapDoc, "bootstrap", {}), None)

    def evaluation(self) -> EvaluationDoc | None:
        """Return the latest comparison of whole frames with the reference, None without one."""
        query = {"output.kind": "evaluation", "output.campaign": self.name}
        found = list(self.store.query(query, properties=["output", "completed_at"], load=True))
        # a round has several where a user asked for more: the one that was done last counts
        last = max(found, key=lambda entry: (entry["output"]["round"], str(entry.get("completed_at"))), default=None)
        return None if last is None else EvaluationDoc.model_validate(last["output"])

    def relabellings(self) -> list[RelabelDoc]:
        """Return what was done with labels of another method or without vacuum, a document for each time, in order of round."""
        return sorted(self._documents(RelabelDoc, "relabel", {}), key=lambda doc: doc.round)

    def n_awaited(self) -> int:
        """Count the labels of the present round that are computed elsewhere and not brought back yet."""
        state = self.state()
        query = {
            "output.kind": {"$in": ["label", "substructure"]},
            "output.campaign": self.name,
            "output.round": 0 if state is None else state.round,
            "output.state": "awaited",
        }
        return int(self.store.count(query))

    def learners(self) -> dict[int, LearnerVersion]:
        """Return the files of every version of the learner that was committed or made, by version."""
        bootstrap = self.bootstrap()
        found = [] if bootstrap is None else [bootstrap.learner]
        for docs in (self.updates(), self.consolidations(), self.relabellings()):
            found += [doc.learner for doc in docs]
        return {learner.version: learner for learner in found}

    def consolidations(self, **filters: Any) -> list[ConsolidationDoc]:
        """Return where all data were learned together, in order of round; filters as for :meth:`substructures`."""
        return self._sorted(ConsolidationDoc, "consolidation", filters, "version_before")

    def labels_without_vacuum(self) -> list[str]:
        """Return request keys of labels that were computed for another structure than the one stored with them.

        Version 0.1.0 let a maker label a structure that is not periodic in all directions as if it were, without adding
        vacuum. Such a label has a key of that version, a structure open in some direction, and the engine's document.
        """
        names = ("request_key", "geometry_key", "structure.pbc", "document", "reused_from")
        query = {
            "output.campaign": self.name,
            "output.kind": {"$in": ["label", "substructure"]},
            "output.state": "accepted",
        }
        found = []
        for entry in self.store.query(query, properties=[f"output.{name}" for name in names], load=False):
            output = entry["output"]
            of_0_1 = "-" not in output["geometry_key"]
            if of_0_1 and not all(output["structure"]["pbc"]) and self._has_document(output):
                found.append(str(output["request_key"]))
        return sorted(found)

    def _has_document(self, output: dict[str, Any]) -> bool:
        if output.get("document") or not output.get("reused_from"):
            return bool(output.get("document"))
        source = self.store.query_one({"uuid": output["reused_from"]}, properties=["output.document"])
        return source is not None and bool(source["output"].get("document"))

    def first_frame(self, walker: int = 0) -> Artifact | None:
        """Return the MD state from which a walker started, None before its first segment."""
        query = {"output.kind": "segment", "output.campaign": self.name, "output.walker": walker}
        found = self.store.query_one(query, properties=["output.start_state"], sort={"output.round": 1})
        return None if found is None else Artifact.model_validate(found["output"]["start_state"])

    def labels(self, **filters: Any) -> list[LabelledDoc]:
        """Return labels that are not of substructures (of bootstrap, evaluation, relabelling), in order of their request keys.

        Filters are as for :meth:`substructures`, fields of :class:`~idealflow.schemas.LabelledDoc`.
        """
        return sorted(self._documents(LabelledDoc, "label", filters), key=lambda doc: doc.request_key)

    def substructures(self, **filters: Any) -> list[SubstructureDoc]:
        """Return the labelled substructures, accepted and failed, in order of request.

        Parameters
        ----------
        filters
            Fields of :class:`~idealflow.schemas.SubstructureDoc` and their values; a value may be a MongoDB condition, e.g.
            ``species="Cu"``, ``state="accepted"``, ``uncertainty={"$gt": 10}``, ``model_version=3``; and ``completed_at``, the
            local time at which the label's job was done, as ISO text: ``completed_at={"$gte": "2026-11-23T12:00"}``.

        Raises
        ------
        InputError
            For a filter that is no field.
        """
        docs = self._documents(SubstructureDoc, "substructure", filters)
        return sorted(docs, key=lambda doc: doc.request_key)

    def lineage(self, uuid: str) -> Lineage:
        """Trace one substructure: frame, atom, candidates, relaxation, label, and the model versions that learned it.

        Parameters
        ----------
        uuid
            ``uuid`` of a :class:`~idealflow.schemas.SubstructureDoc`.

        Raises
        ------
        InputError
            If there is no such substructure in this campaign.
        """
        query = {"uuid": uuid, "output.kind": "substructure", "output.campaign": self.name}
        entry = self.store.query_one(query, properties=["output"], load=True)
        found = None if entry is None else SubstructureDoc.model_validate(entry["output"])
        if found is None:
            raise InputError(f"campaign {self.name} has no substructure {uuid}; see Campaign.table() for their uuids")
        learned = {"learned": found.request_key}
        update = next(self._documents(ModelUpdateDoc, "update", learned), None)
        by = update or next(self._documents(ConsolidationDoc, "consolidation", learned), None)
        replays = self._documents(ModelUpdateDoc, "update", {"replayed": found.request_key})
        return Lineage(
            segment=self._by_uuid(SegmentDoc, found.segment_uuid),
            screen=self._by_uuid(ScreenDoc, found.screen_uuid),
            crop=self._by_uuid(CropDoc, found.crop_uuid),
            relaxation=self._by_uuid(RelaxationDoc, found.relaxation_uuid),
            substructure=found,
            update=update,
            version_before=found.model_version,
            version_after=None if by is None else by.version_after,
            replayed_in=sorted(doc.version_after for doc in replays),
        )

    def round_seconds(self, number: int) -> float:
        """Sum the seconds that the stages of one round took; reused results count nothing."""
        query = {"output.campaign": self.name, "output.round": number, "output.kind": {"$in": _COSTLY}}
        found = self.store.query(query, properties=["output.seconds", "output.reused_from"], load=False)
        outputs = [entry["output"] for entry in found]
        return float(sum(output["seconds"] for output in outputs if not output.get("reused_from")))

    def label_core_seconds(self, rounds: dict[str, int] | None = None) -> float:
        """Sum the core-seconds of all labels, failed ones too; reused ones count nothing.

        Parameters
        ----------
        rounds
            Condition on the number of the round, as MongoDB has it, such as ``{"$gte": 3}``; None: all rounds.
        """
        query: dict[str, Any] = {"output.campaign": self.name, "output.kind": {"$in": ["label", "substructure"]}}
        if rounds is not None:
            query["output.round"] = rounds
        fields = ["output.core_seconds", "output.seconds", "output.reused_from"]
        outputs = [entry["output"] for entry in self.store.query(query, properties=fields, load=False)]
        own = [output for output in outputs if not output.get("reused_from")]
        return float(sum(output.get("core_seconds") or output["seconds"] for output in own))

    def _sorted(self, schema: type[Doc], kind: str, filters: dict[str, Any], then: str) -> list[Doc]:
        docs = self._documents(schema, kind, filters)
        return sorted(docs, key=lambda doc: (getattr(doc, "round"), getattr(doc, then)))  # noqa: B009  # Doc has no such fields

    def _documents(self, schema: type[Doc], kind: str, filters: dict[str, Any]) -> Iterator[Doc]:
        unknown = sorted(set(filters) - set(schema.model_fields) - {"completed_at"})
        if unknown:
            raise InputError(f"{schema.__name__} has no field {unknown[0]!r}; it has {', '.join(schema.model_fields)}")
        query = {"output.kind": kind, "output.campaign": self.name}
        query |= {name if name == "completed_at" else f"output.{name}": value for name, value in filters.items()}
        for entry in self.store.query(query, properties=["output"], load=True):
            yield schema.model_validate(entry["output"])

    def _by_uuid(self, schema: type[Doc], uuid: str) -> Doc:
        found = self.store.query_one({"uuid": uuid}, properties=["output"], load=True)
        if found is None:
            raise InputError(f"the {schema.__name__} {uuid} is not in the store; restore the store from its backup")
        return schema.model_validate(found["output"])
