"""Stage 5: energy, forces and stress of one structure from the reference, exactly once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from ase import Atoms
from jobflow import Maker
from pydantic import Field, TypeAdapter

from idealflow.core.structure import of_the_label
from idealflow.errors import InputError, LabelElsewhereError, LabelError
from idealflow.former_names import formerly
from idealflow.labelling import RESOLUTION, Label, former_geometry_key, geometry_key, is_former_geometry_key
from idealflow.schemas import (
    Artifact,
    AttemptAtCentre,
    LabelledDoc,
    RelaxationDoc,
    StageContext,
    StoredFrame,
    StoredStructure,
    SubstructureDoc,
)
from idealflow.schemas.campaign import OtherMethod
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.encode import load_frame, to_atoms, to_stored
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.job_store import current_store
from idealflow.workflow.jobs.keys import former_key, is_key_of, settings_key, stage_uuid
from idealflow.workflow.jobs.progress import Progress, emit
from idealflow.workflow.jobs.stage import Arguments, artifact_store, current_uuid, stage, stamp, work_directory
from idealflow.workflow.labellers import StaticLabeller, labeller_from_settings, vasp_labeller
from idealflow.workflow.stages import alone
from idealflow.workflow.stages.asked_again import key_at

__all__ = ["LabelMaker"]


@formerly("category")
@dataclass
class LabelMaker(StableName, Maker):
    """Label a structure with the reference.

    A failed label is an ordinary outcome: the job ends well and its document holds the cause.

    Attributes
    ----------
    labeller
        An atomate2 static Maker, an :class:`~idealflow.workflow.labellers.AseLabeller`, or the mapping of either
        (see :func:`~idealflow.workflow.labellers.labeller_from_settings`). Default: VASP static.
    other_method
        What becomes of learned labels of another method, after the labeller was changed: ``keep`` (training uses both),
        ``leave_out`` (training uses the present method's only) or ``relabel`` (they are labelled again by the present method,
        and the model is fitted anew). Not given, a campaign with labels of another method is refused.
    cores, memory_gb
        Cores and memory (GB) that a label takes: `idealflow run` starts no more labels at once than there is room for.
        Default: the labeller's cores, and no memory worth counting. Neither changes how an engine is run, which its command
        or calculator says.

    Examples
    --------
    Alone, on one structure:

    >>> from ase.build import bulk
    >>> from jobflow import run_locally
    >>> from idealflow import AseLabeller, LabelMaker
    >>> labeller = AseLabeller("ase.calculators.emt.EMT", reference="EMT (stands in for DFT)")
    >>> job = LabelMaker(labeller).make(bulk("Cu", cubic=True))
    >>> label = run_locally(job, log=False)[job.uuid][1].output
    >>> label.state, label.n_atoms, label.method
    ('accepted', 4, 'EMT (stands in for DFT)')
    """

    labeller: Any = field(default_factory=vasp_labeller)
    other_method: OtherMethod | None = None
    cores: Annotated[int, Field(ge=1)] | None = None
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    name: str = "label"

    def __post_init__(self) -> None:
        """Turn a Maker or a mapping into a labeller."""
        self.labeller = labeller_from_settings(self.labeller)

    @property
    def method(self) -> str:
        """Name of the reference; stand-ins for DFT are named as such."""
        return str(self.labeller.method)

    @property
    def n_cores(self) -> int:
        """Cores that a label takes."""
        return int(self.labeller.cores) if self.cores is None else self.cores

    @property
    def key(self) -> str:
        """Hash of all label settings; when it changes, what was quarantined may trigger again."""
        return settings_key(self.settings)

    @property
    def settings(self) -> dict[str, Any]:
        """All label settings as plain values, without the folder from which a calculator is imported."""
        return {key: value for key, value in self.labeller.as_dict().items() if key != "import_from"}

    @property
    def science(self) -> str:
        """Hash of the settings that decide a label's values: the same hash and the same geometry give the same label."""
        return settings_key(self.labeller.science())

    def check_site(self, species: Iterable[str]) -> None:
        """Refuse to start where this machine cannot label these species.

        Raises
        ------
        InputError
            The labeller's own error. If it is the default, VASP, the error adds how another is named.
        """
        try:
            self.labeller.check_site(species)
        except InputError as error:
            if self.key != LabelMaker().key:
                raise
            raise InputError(
                "the labeller is the default, VASP; label: {labeller: {calculator: ...}} or {maker: ...} names another, "
                f"and {error}"
            ) from error

    def fits(self, done: LabelledDoc, given: Arguments) -> bool:
        """Tell whether the label of an interrupted run is the one asked for now; if not, the user is told why."""
        mixed = self.other_method == "keep" and done.origin in ("bootstrap", "substructure")
        if done.state == "awaited":  # it may have been brought back for another request
            return False
        if not _same(done.structure, _structure(given["subject"])):
            why = "of another structure"
        elif self._without_vacuum(done):
            why = "of version 0.1.0, without vacuum"
        elif done.origin == "check" and done.state == "failed":  # a check needs its labels, so it tries again
            return False
        elif done.labeller_key == self.key or (done.state == "accepted" and (mixed or self.made(done))):
            return True
        else:
            why = f"by {done.method} with other settings"
        emit(Progress("label", message=f"{done.request_key}: an interrupted run's label is {why}; it is made anew"))
        return False

    @stage(alone=alone.label, reuse=fits)
    def make(
        self,
        context: StageContext,
        subject: RelaxationDoc | StoredStructure | StoredFrame,
        request: str = "",
        origin: Literal["bootstrap", "check", "evaluation", "relabelled"] = "bootstrap",
        replaces: str | None = None,
    ) -> SubstructureDoc | LabelledDoc:
        """Label a relaxed substructure or a plain structure.

        Parameters
        ----------
        subject
            A RelaxationDoc, which names its own request; or a structure.
        request, origin
            Request key of a plain structure, and what its label is for.
        replaces
            For the origin ``relabelled``: request key of the label in whose place training uses the new one.
        """
        structure = _structure(subject)
        if not isinstance(subject, RelaxationDoc):
            label = self.labelled(context, structure)
            return LabelledDoc(**stamp() | label, origin=origin, request_key=request, replaces=replaces)
        label = self.labelled(context, structure, no_structure=subject.reason)
        asked = subject.shared_with(AttemptAtCentre)
        place = (subject.walker, subject.step, subject.atom, subject.attempt)
        geometries = [] if structure is None else self.geometry_keys(to_atoms(structure))
        return SubstructureDoc(
            **stamp() | label | asked,
            uuid=current_uuid(),
            request_key=key_at(current_store(), context, place, geometries),
            relaxation_uuid=stage_uuid(context.campaign, context.round, "relax", *place),
            uncertainty=subject.centre_uncertainty,
            shell_uncertainty=subject.uncertainty_after,
        )

    def labelled(
        self, context: StageContext, structure: StoredStructure | None, no_structure: str | None = None
    ) -> dict[str, Any]:
        """Return the document's fields of the label: from the store if the same geometry was labelled before, else computed.

        ``no_structure`` is the cause of failure if ``structure`` is None.
        """
        outcome: dict[str, Any] = {
            "labeller_key": self.key,
            "method": self.method,
            "structure": structure,
            "n_atoms": len(structure.numbers) if structure else 0,
            "n_electrons": sum(structure.numbers) if structure else None,
            "seconds": 0.0,
            "geometry_key": None,
        }
        if structure is None:
            return outcome | {"state": "failed", "cause": no_structure}
        atoms = to_atoms(structure)
        keys = self.geometry_keys(atoms)
        outcome["geometry_key"] = keys[0]
        for key in keys:
            if (known := stored_label(key, artifact_store(context))) is not None:
                # version 0.1.0 stored a stress also for structures that are open in some direction, where it has no meaning
                return outcome | known | ({} if atoms.pbc.all() else {"stress": None})
        started = time.perf_counter()
        directory = work_directory(context, "label", fresh=True)
        try:
            label, whole = self.labeller.label(atoms, directory)
        except LabelElsewhereError:
            directory.rmdir()
            return outcome | {"state": "awaited"}
        except LabelError as error:
            seconds = time.perf_counter() - started
            cost = {"seconds": seconds, "core_seconds": seconds * self.n_cores}
            return outcome | {"state": "failed", "cause": str(error), **cost}
        if whole is None and not any(directory.iterdir()):
            directory.rmdir()
        document = artifact_store(context).put_bytes(whole, suffix=".json") if whole is not None else None
        return outcome | _encoded(label, document)

    def claim(self, subject: Any) -> tuple[str | None, RelaxationDoc | StoredStructure | StoredFrame]:
        """Return the geometry key under which a label of ``subject`` is stored, None if it has no structure; and ``subject``.

        ``subject`` is that of :meth:`make`, or its plain data, and is returned as a document. Of labels with the same key
        only one has to be computed.
        """
        read: RelaxationDoc | StoredStructure | StoredFrame = _SUBJECT.validate_python(subject)
        structure = _structure(read)
        return (None if structure is None else self.geometry_keys(to_atoms(structure))[0]), read

    def learnable(self, doc: LabelledDoc) -> bool:
        """Tell whether a round's label counts: it is the present method's, or labels of other methods are kept.

        After a rerun with another labeller the round may also have labels of the former one, which were not asked for again.
        """
        if doc.structure is None or doc.labeller_key == self.key:
            return True
        if doc.state == "failed" or self._without_vacuum(doc):
            return False
        return self.other_method == "keep" or self.made(doc)

    def _without_vacuum(self, doc: LabelledDoc) -> bool:
        """Tell whether version 0.1.0 made the label without vacuum, of a structure that is open in some direction."""
        static = isinstance(self.labeller, StaticLabeller) and doc.state == "accepted"
        return (
            static and is_former_geometry_key(doc.geometry_key) and not all(doc.structure.pbc if doc.structure else ())
        )

    def made(self, doc: LabelledDoc) -> bool:
        """Tell whether a stored label is the present method's: all settings that decide a label's values are the same."""
        if doc.structure is None or is_key_of(doc.labeller_key, self.settings):
            return doc.structure is not None
        atoms, science = to_atoms(doc.structure), self.labeller.science()
        if is_former_geometry_key(doc.geometry_key):
            return doc.geometry_key == former_geometry_key(atoms, {"labeller": former_key(science)})
        return doc.geometry_key == geometry_key(atoms, {"labeller": settings_key(science)})

    def geometry_keys(self, atoms: Atoms) -> list[str]:
        """Return the keys under which a label of this structure may be stored, this version's first.

        With an atomate2 maker, version 0.1.0 labelled every structure as if it were periodic in all directions, without adding
        vacuum. So its labels of structures that are not are never used again.
        """
        science = self.labeller.science()
        keys = [geometry_key(atoms, {"labeller": settings_key(science)})]
        if atoms.pbc.all() or not isinstance(self.labeller, StaticLabeller):
            keys.append(former_geometry_key(atoms, {"labeller": former_key(science)}))
        return keys


_SUBJECT: TypeAdapter[Any] = TypeAdapter(RelaxationDoc | StoredStructure | StoredFrame)


def _structure(subject: RelaxationDoc | StoredStructure | StoredFrame) -> StoredStructure | None:
    """Return the structure to label; None if no crop was found."""
    if isinstance(subject, RelaxationDoc):
        return subject.structure
    if isinstance(subject, StoredFrame):
        return to_stored(of_the_label(load_frame(ArtifactStore(subject.root), subject.file)))
    return subject


def _same(one: StoredStructure | None, other: StoredStructure | None) -> bool:
    """Tell whether two structures are the same within the resolution of geometry keys."""
    if one is None or other is None or len(one.numbers) != len(other.numbers):
        return one == other
    coordinates = {"positions", "cell"}
    return one.model_dump(exclude=coordinates) == other.model_dump(exclude=coordinates) and all(
        np.allclose(getattr(one, name), getattr(other, name), rtol=0.0, atol=RESOLUTION) for name in coordinates
    )


def _encoded(label: Label, document: Artifact | None) -> dict[str, Any]:
    return {
        "state": "accepted",
        "energy": float(label.energy),
        "forces": np.asarray(label.forces).tolist(),
        "stress": None if label.stress is None else np.asarray(label.stress).tolist(),
        "seconds": label.seconds,
        "core_seconds": label.core_seconds,
        "n_valence_electrons": label.n_valence_electrons,
        "document": document,
    }


_STORED = ("state", "energy", "forces", "stress", "seconds", "core_seconds", "n_valence_electrons", "engine")


def stored_label(key: str, artifacts: ArtifactStore) -> dict[str, Any] | None:
    """Find an accepted label of the same geometry and settings, asked for by any campaign of the store."""
    found = current_store().query_one(
        {"output.geometry_key": key, "output.state": "accepted"}, properties=["uuid", "output"], load=True
    )
    if found is None:
        return None
    output = found["output"]
    document = output.get("document")
    if document is not None and not artifacts.exists(Artifact.model_validate(document)):
        document = None  # it is a file of the campaign that computed the label; `reused_from` leads there
    stored = {name: output.get(name) for name in _STORED}
    return stored | {"document": document, "reused_from": output.get("reused_from") or found["uuid"]}
