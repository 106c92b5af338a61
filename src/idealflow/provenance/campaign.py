"""One campaign seen through its stored documents."""

from __future__ import annotations

import json
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from idealflow.errors import InputError
from idealflow.provenance.calibration import CALIBRATION_COLUMNS, calibration_rows
from idealflow.provenance.documents import CampaignDocuments
from idealflow.provenance.folder import CampaignFolder
from idealflow.provenance.training_labels import given_structures, training_labels
from idealflow.provenance.trajectory import WalkerTrajectory
from idealflow.schemas import SETTINGS_IN_FULL, Artifact, LabelledDoc, SubstructureDoc
from idealflow.storage import ArtifactStore

if TYPE_CHECKING:  # both take seconds to import, and the methods that need them import them
    import pandas as pd

    from idealflow.forcefields import ForceField

__all__ = ["Campaign"]

#: function that gives the JOB_STORE of jobflow's settings
_SITE_STORE = "idealflow.workflow.jobs.job_store:site_store"
_TABLE = (
    "uuid", "round", "walker", "step", "atom", "attempt", "species", "state", "cause", "uncertainty",
    "shell_uncertainty", "composition_error", "embedding", "n_atoms", "n_electrons", "n_valence_electrons", "energy", "seconds",
    "core_seconds", "model_version",
    "geometry_key", "request_key", "reused_from", "method",
)  # fmt: skip


class Campaign(CampaignDocuments):
    """Everything a campaign stored, as typed documents.

    Parameters
    ----------
    store
        Any jobflow JobStore; it is connected if need be.
    name
        Name of the campaign in it.
    folder
        The folder in which it was run by `idealflow run`, if it was; :meth:`open` finds store and name in it.

    Examples
    --------
    The sample campaign that ships with the package labelled five substructures:

    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> [(doc.step, doc.atom, doc.n_atoms) for doc in campaign.substructures(state="accepted")]
    [(40, 77, 78), (50, 31, 75), (50, 95, 86), (55, 39, 88), (60, 68, 73)]
    >>> campaign.trajectory()[-1].info["step"]
    60
    >>> Campaign.open(campaign.folder.path).state().n_substructures
    5
    """

    def __init__(self, store: Any, name: str, folder: CampaignFolder | None = None) -> None:
        super().__init__(store, name)
        self.folder = folder
        self._artifacts: ArtifactStore | None = None

    @classmethod
    def open(cls, where: str | Path, store: Any = None) -> Campaign:
        """Open a campaign to look at it.

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
        """The store of the campaign's files; InputError where no state is stored yet that says where it is."""
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
        """Return the local path of a file of the campaign, verified; ArtifactError where it is missing or damaged."""
        return self.artifacts.get(artifact)

    def table(self) -> pd.DataFrame:
        """Return a table with a row for each substructure: who asked for it, how uncertain it was, its cost, its outcome."""
        import pandas as pd

        rows = [{name: getattr(doc, name) for name in _TABLE} for doc in self.substructures()]
        return pd.DataFrame(rows, columns=list(_TABLE))

    def dataset(self, *, bootstrap: bool = True) -> list[Atoms]:
        """Return the labels that training uses as ase Atoms with energy, forces and (where given) stress; provenance in info.

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
        """Return an accepted label as ase Atoms with energy, forces and (where given) stress; its provenance is in ``info``."""
        return _labelled(doc)

    def trajectory(self, walker: int = 0) -> WalkerTrajectory:
        """Return the stored frames of one walker in order of step, a sequence of ase Atoms.

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

    def model(self, version: int | None = None) -> ForceField:
        """Load a force field of the campaign; its ``calculator()`` is an ASE calculator.

        Parameters
        ----------
        version
            0 is that of the bootstrap, and every accepted update made the next. None: the last one.

        Raises
        ------
        InputError
            Before the bootstrap is done, or if there is no such version.
        """
        from idealflow.forcefields import load_force_field

        state = self.state()
        if state is None or state.learner is None:
            raise InputError(f"campaign {self.name} has no model yet; let it run at least through its bootstrap")
        learner = state.learner
        if version is not None and version != learner.version:
            known = self.learners()
            if version not in known or version > learner.version:
                raise InputError(f"campaign {self.name} has models 0 to {learner.version}, got {version}; choose one")
            learner = known[version]
        return load_force_field(self.fetch(learner.force_field))

    def settings(self) -> dict[str, Any]:
        """All settings by their place in the config, ``section.name``, with the defaults that nobody wrote down.

        Raises
        ------
        InputError
            If the campaign has stored none yet; those of version 0.1.0 kept only a hash.
        ArtifactError
            If the file of settings is lost or damaged.
        """
        state = self.state()
        if state is None or state.settings is None:
            raise InputError(
                f"campaign {self.name} has stored no settings yet (version 0.1.0 kept only their hash); run it once"
            )
        stored: dict[str, Any] = json.loads(self.fetch(state.settings).read_text())
        in_full: dict[str, Any] = stored.pop(SETTINGS_IN_FULL, {})
        return stored | in_full

    def calibration(self, *, recompute: bool = True) -> pd.DataFrame:
        """Compare the model's uncertainty at each labelled centre with its force error there before it learned the label.

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
        import pandas as pd

        return pd.DataFrame(self.calibration_rows(recompute=recompute), columns=list(CALIBRATION_COLUMNS))

    def calibration_rows(self, *, recompute: bool = True) -> list[dict[str, Any]]:
        """The rows of :meth:`calibration` as dictionaries, without pandas."""
        return calibration_rows(self, recompute=recompute)

    def labels_by_method(self) -> dict[str, int]:
        """Count the campaign's own labels in :meth:`dataset` by their method, the most frequent first."""
        methods = [output["method"] for output in training_labels(self).values()]
        return dict(Counter(sorted(methods)).most_common())

    def log(self) -> pd.DataFrame:
        """Return the walkers' logs as one table: the columns of :class:`~idealflow.schemas.SegmentDoc`'s log, and the walker.

        A step that was run again after a blow-up appears once, with its later values.
        """
        import pandas as pd

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


def _site_store() -> Any:
    """The store in which this site keeps its campaigns. Only the workflows know it, and they are loaded for nothing else."""
    module, _, name = _SITE_STORE.partition(":")
    return getattr(import_module(module), name)()


def _is_name(where: str | Path) -> bool:
    """Whether it may be the name of a campaign: a text without folders in it."""
    return isinstance(where, str) and "/" not in where


def _labelled(doc: LabelledDoc) -> Atoms:
    from idealflow.core.structure import from_arrays, of_the_label, set_label  # with ASE's constraints, and so scipy

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
