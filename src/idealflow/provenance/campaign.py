"""One campaign seen through its stored documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from ase import Atoms

from idealflow.core.structure import from_arrays, of_the_label, set_label
from idealflow.errors import InputError
from idealflow.forcefields import ForceField, load_force_field
from idealflow.provenance.calibration import calibration_table
from idealflow.provenance.folder import CampaignFolder
from idealflow.provenance.training_labels import given_structures, training_labels
from idealflow.provenance.trajectory import WalkerTrajectory
from idealflow.schemas import (
    Artifact,
    BootstrapDoc,
    CampaignState,
    CropDoc,
    Document,
    EvaluationDoc,
    LabelledDoc,
    Lineage,
    ModelUpdateDoc,
    RelabelDoc,
    RelaxationDoc,
    ScreenDoc,
    SegmentDoc,
    SubstructureDoc,
)
from idealflow.storage import ArtifactStore

__all__ = ["Campaign"]

Doc = TypeVar("Doc", bound=Document)

#: function that gives the JOB_STORE of jobflow's settings
_SITE_STORE = "idealflow.workflow.jobs.stage:site_store"
_COSTLY = ["segment", "screen", "crop", "relaxation", "substructure", "update"]
_TABLE = (
    "uuid", "round", "walker", "step", "atom", "attempt", "species", "state", "cause", "uncertainty",
    "shell_uncertainty", "composition_error", "embedding", "n_atoms", "n_electrons", "n_valence_electrons", "energy", "seconds",
    "core_seconds", "model_version",
    "geometry_key", "request_key", "reused_from", "method",
)  # fmt: skip


class Campaign:
    """Everything a campaign stored, as typed documents.

    Parameters
    ----------
    store
        Any jobflow JobStore; it is connected if need be.
    name
        Name of the campaign in it.
    folder
        The folder in which it was run by `idealflow run`, if it was; :meth:`open` finds store and name in it.
    """

    def __init__(self, store: Any, name: str, folder: CampaignFolder | None = None) -> None:
        self.store = store
        self.name = name
        self.folder = folder
        self._artifacts: ArtifactStore | None = None
        store.connect()

    @classmethod
    def open(cls, where: str | Path, store: Any = None) -> Campaign:
        """A campaign to look at: by its folder, or by its name in a store.

        Parameters
        ----------
        where
            The folder of a campaign that `idealflow run` runs, opened read-only: nothing is written to it. A text that is no
            such folder, or any text together with a ``store``, is the campaign's name in the store.
        store
            Any jobflow JobStore; default: the ``JOB_STORE`` of jobflow's settings, as the workers of a cluster have it.

        Raises
        ------
        InputError
            If there is no such campaign.
        ArtifactError
            If its documents are damaged, or cannot be read without writing.

        Examples
        --------
        >>> from jobflow import JobStore
        >>> from maggma.stores import MemoryStore
        >>> from idealflow import Campaign
        >>> Campaign.open("li-melt", store=JobStore(MemoryStore()))
        Traceback (most recent call last):
        idealflow.errors.InputError: the store has no campaign named 'li-melt'; give its name, or a folder without a store
        """
        if store is None:
            folder = CampaignFolder(where)
            if folder.exists() or not _is_name(where):
                return cls(folder.documents(), folder.campaign_name(), folder)
            campaign = cls(_site_store(), str(where))
            missing = (
                f"{folder.path} holds no campaign, and jobflow's JOB_STORE has none named {campaign.name!r}; give the folder of "
                "`idealflow run --out`, or let JOBFLOW_CONFIG_FILE name the store"
            )
        else:
            campaign = cls(store, str(where))
            missing = f"the store has no campaign named {campaign.name!r}; give its name, or a folder without a store"
        if campaign.store.query_one({"output.campaign": campaign.name}, properties=["uuid"]) is None:
            raise InputError(missing)
        return campaign

    @property
    def artifacts(self) -> ArtifactStore:
        """The campaign's artifact store; InputError before the first state."""
        if self._artifacts is None:
            state = self.state()
            if self.folder is not None:
                root = self.folder.root(state)
            elif state is not None:
                root = state.artifacts
            else:
                raise InputError(
                    f"campaign {self.name} has stored no state yet; let it run at least through its bootstrap"
                )
            if state is None:  # the first one may name another place
                return ArtifactStore(root)
            self._artifacts = ArtifactStore(root)
        return self._artifacts

    def fetch(self, artifact: Artifact) -> Path:
        """Local, verified path of an artifact; ArtifactError where it is missing or damaged."""
        return self.artifacts.get(artifact)

    def state(self) -> CampaignState | None:
        """The last committed state, None before the first."""
        found = self.store.query_one(
            {"output.kind": "state", "output.campaign": self.name},
            properties=["output"],
            sort={"output.round": -1},
            load=True,
        )
        return None if found is None else CampaignState.model_validate(found["output"])

    def segments(self, **filters: Any) -> list[SegmentDoc]:
        """MD segments in order of round and walker."""
        return self._sorted(SegmentDoc, "segment", filters, "walker")

    def screens(self, **filters: Any) -> list[ScreenDoc]:
        """Screened frames in order of round and walker."""
        return self._sorted(ScreenDoc, "screen", filters, "walker")

    def updates(self, **filters: Any) -> list[ModelUpdateDoc]:
        """Model updates in order."""
        return self._sorted(ModelUpdateDoc, "update", filters, "version_before")

    def bootstrap(self) -> BootstrapDoc | None:
        """The bootstrap, None before it is done."""
        return next(self._documents(BootstrapDoc, "bootstrap", {}), None)

    def evaluation(self) -> EvaluationDoc | None:
        """The latest whole-frame comparison with the reference, None without one."""
        query = {"output.kind": "evaluation", "output.campaign": self.name}
        found = list(self.store.query(query, properties=["output", "completed_at"], load=True))
        # of those of one round, all but one were asked for by hand: the last one done
        last = max(found, key=lambda entry: (entry["output"]["round"], str(entry.get("completed_at"))), default=None)
        return None if last is None else EvaluationDoc.model_validate(last["output"])

    def relabellings(self) -> list[RelabelDoc]:
        """What became of labels of another method, or without vacuum; one each time they were sorted out."""
        return sorted(self._documents(RelabelDoc, "relabel", {}), key=lambda doc: doc.round)

    def labels_without_vacuum(self) -> list[str]:
        """Request keys of labels that are not of the structure they stand beside.

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
        """The MD state from which a walker started, None before its first segment."""
        query = {"output.kind": "segment", "output.campaign": self.name, "output.walker": walker}
        found = self.store.query_one(query, properties=["output.start_state"], sort={"output.round": 1})
        return None if found is None else Artifact.model_validate(found["output"]["start_state"])

    def labels(self, **filters: Any) -> list[LabelledDoc]:
        """Labels that are no substructures (bootstrap and evaluation), by request key; filters as :meth:`substructures`."""
        return sorted(self._documents(LabelledDoc, "label", filters), key=lambda doc: doc.request_key)

    def substructures(self, **filters: Any) -> list[SubstructureDoc]:
        """Labelled substructures, accepted and failed, in order of request.

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
        """Frame → atom → candidates → relaxation → label → model versions of one substructure.

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
        update = next(self._documents(ModelUpdateDoc, "update", {"learned": found.request_key}), None)
        replays = self._documents(ModelUpdateDoc, "update", {"replayed": found.request_key})
        return Lineage(
            segment=self._by_uuid(SegmentDoc, found.segment_uuid),
            screen=self._by_uuid(ScreenDoc, found.screen_uuid),
            crop=self._by_uuid(CropDoc, found.crop_uuid),
            relaxation=self._by_uuid(RelaxationDoc, found.relaxation_uuid),
            substructure=found,
            update=update,
            version_before=found.model_version,
            version_after=None if update is None else update.version_after,
            replayed_in=sorted(doc.version_after for doc in replays),
        )

    def table(self) -> pd.DataFrame:
        """One row a substructure: who asked for it, how sure the model was, what it cost, how it ended."""
        rows = [{name: getattr(doc, name) for name in _TABLE} for doc in self.substructures()]
        return pd.DataFrame(rows, columns=list(_TABLE))

    def dataset(self, *, bootstrap: bool = True) -> list[Atoms]:
        """Every accepted label that training uses as ase Atoms with energy, forces and (where given) stress; provenance in info.

        Labels of other methods that training leaves out, or in whose place it uses new ones, are not in it, nor are those of
        evaluations and of a dataset's check; ``method`` in info says by what each was made.

        Structures of the user's dataset, or of the earlier campaign that this one began with, come first (``origin`` in info is
        ``dataset``).

        Parameters
        ----------
        bootstrap
            Include the labels of the bootstrap, and the structures that the campaign began with.
        """
        used = training_labels(self)
        relabelled = self.labels(origin="relabelled", state="accepted")
        if not bootstrap:
            relabelled = [doc for doc in relabelled if not str(doc.replaces).startswith(f"{self.name}/bootstrap/")]
        labels = self.labels(origin="bootstrap", state="accepted") if bootstrap else []
        docs = [*labels, *self.substructures(state="accepted"), *relabelled]
        given = given_structures(self) if bootstrap else []
        return given + [self.labelled(doc) for doc in docs if doc.round == used.get(doc.request_key, {}).get("round")]

    def labelled(self, doc: LabelledDoc) -> Atoms:
        """An accepted label as ase Atoms with energy, forces and (where given) stress; its provenance in info."""
        return _labelled(doc)

    def trajectory(self, walker: int = 0) -> WalkerTrajectory:
        """Stored frames of one walker in order of step, a sequence of ase Atoms.

        Each has velocities, masses and constraints, and ``step``, ``time_fs`` and ``temperature`` (K) in ``info``. Steps
        that were run again after a blow-up appear once, with their later values. Frames are read when asked for.

        Raises
        ------
        InputError
            If there is no such walker.
        ArtifactError
            If a file is missing or damaged.
        """
        state = self.state()
        if state is not None and walker not in {known.walker for known in state.walkers}:
            raise InputError(f"campaign {self.name} has {len(state.walkers)} walkers, counted from 0, got {walker}")
        stored = [doc.trajectory for doc in self.segments(walker=walker) if doc.trajectory is not None]
        store = self.artifacts if stored else None
        return WalkerTrajectory([store.get(file) for file in stored] if store is not None else [])

    def model(self) -> ForceField:
        """The last force field; its ``calculator()`` is an ASE calculator.

        Raises
        ------
        InputError
            Before the bootstrap is done.
        """
        state = self.state()
        if state is None or state.learner is None:
            raise InputError(f"campaign {self.name} has no model yet; let it run at least through its bootstrap")
        return load_force_field(self.fetch(state.learner.force_field))

    def calibration(self, *, recompute: bool = True) -> pd.DataFrame:
        """How uncertain the model was of each labelled centre, and how wrong it was there before it learned it.

        Parameters
        ----------
        recompute
            Where an error was not stored (campaigns of earlier versions), compute it with the stored model that asked for
            the label; False leaves these centres out.

        Returns
        -------
        DataFrame
            One row for each accepted label of a centre, by request key: ``ratio`` (uncertainty / threshold),
            ``force_error`` (length of the difference of the forces at the centre, eV/Å), ``uncertainty``, ``threshold``,
            ``walker``, ``step``, ``atom``, ``species``, ``model_version``, ``round``, ``request_key``.
        """
        return calibration_table(self, recompute=recompute)

    def labels_by_method(self) -> dict[str, int]:
        """How many of the campaign's own labels in :meth:`dataset` each method gave, the most first."""
        methods = [output["method"] for output in training_labels(self).values()]
        return dict(Counter(sorted(methods)).most_common())

    def round_seconds(self, number: int) -> float:
        """Seconds that the stages of one round took, summed."""
        query = {"output.campaign": self.name, "output.round": number, "output.kind": {"$in": _COSTLY}}
        found = self.store.query(query, properties=["output.seconds", "output.reused_from"], load=False)
        outputs = [entry["output"] for entry in found]
        return float(sum(output["seconds"] for output in outputs if not output.get("reused_from")))

    def log(self) -> pd.DataFrame:
        """The walkers' logs as one table: walker, step, time_fs, temperature, target, potential_energy, max_uncertainty.

        A step that was run again after a blow-up appears once, with its later values.
        """
        parts = []
        for doc in self.segments():
            part = pd.DataFrame({name: np.asarray(values, dtype=float) for name, values in doc.log.items()})
            parts.append(part.assign(walker=doc.walker, version=doc.model_version))
        if not parts:
            return pd.DataFrame(columns=["step", "walker"])
        table = pd.concat(parts, ignore_index=True)
        table["step"] = table["step"].astype(int)
        first_screening = table.groupby(["walker", "step"])["max_uncertainty"].max().rename("first_uncertainty")
        table = table.drop_duplicates(["walker", "step"], keep="last").sort_values(
            ["walker", "step"], ignore_index=True
        )
        return table.join(first_screening, on=["walker", "step"])

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


def _site_store() -> Any:
    """The store in which this site keeps its campaigns. Only the workflows know it, and they are loaded for nothing else."""
    module, _, name = _SITE_STORE.partition(":")
    return getattr(import_module(module), name)()


def _is_name(where: str | Path) -> bool:
    """Whether it may be the name of a campaign: a text without folders in it."""
    return isinstance(where, str) and "/" not in where


def _labelled(doc: LabelledDoc) -> Atoms:
    structure = doc.structure
    if structure is None:
        raise InputError(f"label {doc.request_key} has no structure")
    atoms = of_the_label(from_arrays(dict(structure)))
    if doc.energy is None or doc.forces is None:
        raise InputError(f"label {doc.request_key} is {doc.state}: {doc.cause}")
    set_label(atoms, doc.energy, doc.forces, doc.stress)
    atoms.info |= {"campaign": doc.campaign, "origin": doc.origin, "request_key": doc.request_key, "method": doc.method}
    if isinstance(doc, SubstructureDoc):
        for name in (
            "uuid",
            "walker",
            "step",
            "atom",
            "attempt",
            "uncertainty",
            "model_version",
            "embedding",
            "centre",
        ):
            atoms.info[name] = getattr(doc, name)
        core = np.zeros(len(atoms), dtype=bool)
        core[doc.core] = True
        atoms.set_array("core", core)
    return atoms
