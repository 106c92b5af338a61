"""Stage 0: the first model, from small structures, from the user's dataset, or from an earlier campaign."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from ase import Atoms
from jobflow import Flow, Maker, OnMissing
from pydantic import Field

from idealflow.core import SOAP, FirstEnvironments, ForceFieldFit, Uncertainty, uncertainty_class
from idealflow.errors import InputError
from idealflow.forcefields import Consolidating, ForceField, Startable, get_force_field, weights_file
from idealflow.forcefields.pretrained import kept_structures
from idealflow.former_names import formerly
from idealflow.provenance import Campaign
from idealflow.schemas import Artifact, BootstrapDoc, StageContext
from idealflow.storage import ArtifactStore, shard_keys, write_shard
from idealflow.workflow.folder.earlier import open_earlier
from idealflow.workflow.frames.build import build_structure, perturbed
from idealflow.workflow.frames.dataset_keys import DatasetKey
from idealflow.workflow.frames.datasets import read_dataset
from idealflow.workflow.frames.encode import to_stored
from idealflow.workflow.frames.rattle import Rattle, check_rattle
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.job_store import current_store
from idealflow.workflow.jobs.keys import child_seed, generator, settings_key
from idealflow.workflow.jobs.progress import Progress, emit, noted
from idealflow.workflow.jobs.stage import Arguments, artifact_store, named, stage, stamp, work_directory
from idealflow.workflow.learner.ledger import Ledger, fetch_structures
from idealflow.workflow.learner.trial import mean_errors, shift_of
from idealflow.workflow.learner.uncertainties import settings_of
from idealflow.workflow.learner.version import load_force_field_artifact, load_uncertainty_artifact, store_learner
from idealflow.workflow.stages.dataset_check import check_dataset, check_request, to_check
from idealflow.workflow.stages.first_data import FirstData, of_a_dataset, of_an_earlier_campaign, of_labels
from idealflow.workflow.stages.label import LabelMaker
from idealflow.workflow.stages.pretrained import anchors_of, begun_from, stored_file
from idealflow.workflow.stages.thresholds import Threshold, calibrated, fixed

__all__ = ["BootstrapMaker"]

_ANCHOR = 36  # default number of anchors


@formerly("category")
@dataclass
class BootstrapMaker(StableName, Maker):
    """Make the first force field and the first distribution.

    Exactly one source is used: ``campaign`` if given, else ``dataset`` if given, else ``seeds``.

    Attributes
    ----------
    seeds
        Small structures to perturb and label: files, builder mappings, Atoms or Structures; default: the frame itself.
    n_structures
        How many perturbed structures are labelled.
    min_atoms
        Seeds are repeated until they have at least this many atoms.
    rattle
        Range of the standard deviation of random displacements, Å.
    strain
        Largest absolute value of each component of the random strain.
    dataset
        File or folder with energies and forces, used instead of labelling: whatever ASE reads (extended XYZ, ASE databases,
        vasprun.xml, OUTCAR), a folder of VASP runs, or a folder of DeePMD-kit's systems.
    keys
        Names under which the dataset has ``energy``, ``forces``, ``stress`` or ``virial``, e.g. ``{"energy": "my_energy"}``;
        those of ASE, MACE (``REF_energy``), QUIP (``dft_energy``) and GPUMD are known.
    dataset_check
        How many structures of the dataset are labelled again before the first fit; a dataset that does not agree with the
        labeller is refused. 0 switches the check off; without learning there is none.
    campaign
        Directory of an earlier campaign: its model, optimiser, labels, distribution and coverage carry on.
    held_out
        Fraction of structures kept out of training: the validation set of the first fit, and part of that of every update.
    force_field, force_field_settings
        Registered name of the architecture and its settings. Pretrained weights bring theirs with them; settings of learning,
        such as ``fit_learning_rate``, may be changed.
    pretrained
        Weights to begin from: ``7net-0`` or ``7net-l3i5``, which ``pip install 'idealflow[sevennet]'`` brings, a checkpoint of
        sevenn, or a force field that idealflow saved or exported. They are copied into the campaign's artifacts.
    freeze
        Parameters of pretrained weights that do not learn, by patterns of their names; ``["*"]`` leaves all as they are, and
        only the energies of the species are fitted.
    anchor
        What holds pretrained weights to what they know: how many small crystals of their species, or a file of structures, are
        learned beside the data with the labels of the weights themselves. 0: nothing.
    soap
        Settings of the descriptor: ``r_cut`` (Å), ``n_max``, ``l_max``, ``sigma`` (Å); species are added.
    pooled
        One distribution for all species (the paper's form) instead of one for each.
    uncertainty
        ``soap``: distance of the descriptor from the distribution. ``committee``: disagreement of force fields on the energy
        of an atom, while coverage still uses the descriptor. Or one of your own, by its registered name or as ``module:Class``.
    uncertainty_settings
        Settings of an uncertainty of your own.
    committee_size
        Force fields in the committee; the first drives the dynamics.
    fit_steps
        Gradient steps of the first fit; None leaves it to the force field.

    Examples
    --------
    The jobs with which a campaign of copper would begin:

    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller
    >>> maker = BootstrapMaker(n_structures=3, min_atoms=32, rattle=(0.02, 0.1))
    >>> [len(atoms) for atoms in maker.initial_structures(bulk("Cu"), seed=1)]
    [32, 32, 32]
    >>> context = StageContext(campaign="copper", round=0, seed=1, artifacts="artifacts", work="work")
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> [job.name for job in maker.make(context, bulk("Cu"), label, "auto").jobs]
    ['bootstrap-label r0 0', 'bootstrap-label r0 1', 'bootstrap-label r0 2', 'bootstrap-fit r0']
    """

    seeds: list[Any] | None = None
    n_structures: Annotated[int, Field(ge=2)] = 48
    min_atoms: Annotated[int, Field(ge=1)] = 32
    rattle: Rattle = (0.02, 0.2)
    strain: Annotated[float, Field(ge=0, lt=0.5)] = 0.04
    dataset: str | None = None
    keys: dict[DatasetKey, str] | None = None
    dataset_check: Annotated[int, Field(ge=0)] = 2
    campaign: str | None = None
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    force_field: str = "local"
    force_field_settings: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    freeze: list[str] = field(default_factory=list)
    anchor: Annotated[int, Field(ge=0)] | str = _ANCHOR
    soap: dict[str, Any] = field(default_factory=lambda: {"r_cut": 4.0, "n_max": 6, "l_max": 6, "sigma": 0.4})
    pooled: bool = False
    uncertainty: str = "soap"
    uncertainty_settings: dict[str, Any] = field(default_factory=dict)
    committee_size: Annotated[int, Field(ge=2)] = 4
    fit_steps: Annotated[int, Field(ge=1)] | None = None
    name: str = "bootstrap"

    def __post_init__(self) -> None:
        if self.keys and self.dataset is None:
            raise InputError(
                f"keys are names in a dataset, got {self.keys} without one; give dataset, or leave keys out"
            )
        if not isinstance(self.uncertainty, str):
            uncertainty_class(self.uncertainty)  # its error tells how to give a class a name
        check_rattle(self.rattle)
        if self.pretrained is None and (self.freeze or self.anchor != _ANCHOR):
            raise InputError("freeze and anchor are for pretrained weights; give pretrained, or leave them out")
        if self.pretrained is not None and self.campaign is not None:
            raise InputError(
                "bootstrap.campaign carries on the force field of an earlier campaign; leave pretrained out, or give dataset"
            )
        if self.seeds is not None and not self.seeds:
            raise InputError(
                "seeds must hold at least one structure, got an empty list; leave seeds out to perturb the frame"
            )
        if self.seeds is not None:  # objects become plain data, since a maker is stored with every flow
            self.seeds = [
                entry if isinstance(entry, (str, dict)) else to_stored(build_structure(entry)).model_dump()
                for entry in self.seeds
            ]

    def as_dict(self) -> dict[str, Any]:
        """Return the MSON form; settings that are not used are left out, so hashes equal those of versions without them."""
        found = super().as_dict()
        for name, unused in (("uncertainty_settings", {}), ("pretrained", None), ("freeze", []), ("anchor", _ANCHOR)):
            if found[name] == unused:
                del found[name]
        return found

    @property
    def all_uncertainty_settings(self) -> dict[str, Any]:
        """Settings that the uncertainty begins with."""
        return settings_of(self.uncertainty, self.uncertainty_settings, self.committee_size)

    @property
    def source(self) -> Literal["structures", "dataset", "campaign"]:
        """Where the first model comes from."""
        if self.campaign is not None:
            return "campaign"
        return "dataset" if self.dataset is not None else "structures"

    def n_held(self, n: int) -> int:
        """Return how many of ``n`` structures are kept out of training."""
        return max(1, round(self.held_out * n))

    def make(
        self,
        context: StageContext,
        frame: Atoms,
        label: LabelMaker,
        threshold: Threshold,
        *,
        check: bool = True,
    ) -> Flow:
        """Return a flow of label jobs (of structures, or to check a dataset) and of the first fit; its output is a BootstrapDoc.

        ``check=False`` leaves the check of a dataset out, for campaigns that will not use the labeller.
        """
        jobs, checks = [], {}
        if self.source == "dataset" and check and self.dataset_check:
            for number, (index, atoms) in enumerate(to_check(self.read(), self.dataset_check).items()):
                request, part = check_request(context.campaign, atoms, label, number)
                new = label.make(context, to_stored(atoms), request=request, origin="check")
                jobs.append(named(new, context, "check-label", number, part))
                checks[request] = index
        if self.source == "structures":
            for i, atoms in enumerate(self.initial_structures(frame, context.seed)):
                request = f"{context.campaign}/bootstrap/{i:06d}"
                new = label.make(context, to_stored(atoms), request=request, origin="bootstrap")
                jobs.append(named(new, context, "bootstrap-label", i))
        species = sorted(set(frame.get_chemical_symbols()))
        # files are copied into the store, since another machine may not have them
        store = artifact_store(context)
        weights = None if self.pretrained is None else stored_file(store, weights_file(self.pretrained))
        anchors = stored_file(store, Path(self.anchor)) if isinstance(self.anchor, str) else None
        fit = self.fit(context, species, threshold, [new.output for new in jobs], checks, weights, anchors)
        jobs.append(named(fit, context, "bootstrap-fit", missing=OnMissing.NONE))
        return Flow(jobs, output=jobs[-1].output, name=self.name)

    def initial_structures(self, frame: Atoms, seed: int) -> list[Atoms]:
        """Make the structures to label: seed structures repeated, strained and rattled; the same for the same ``seed``."""
        seeds = [build_structure(entry) for entry in self.seeds] if self.seeds else [frame]
        largest = max(len(atoms) for atoms in seeds)
        if not self.seeds and largest > 300:
            raise InputError(
                f"the frame has {largest} atoms, too many to label whole: give bootstrap.seeds (small structures), "
                "bootstrap.dataset or bootstrap.campaign"
            )
        return [
            perturbed(
                seeds[i % len(seeds)],
                generator(seed, 3, i),
                min_atoms=self.min_atoms,
                rattle=self.rattle,
                strain=self.strain,
            )
            for i in range(self.n_structures)
        ]

    def _goes_on(self, done: BootstrapDoc, given: Arguments) -> bool:
        """Tell whether a stored first model stays: the campaign has gone on from it, or it is the one asked for now."""
        context = given["context"]
        if done.asked is None or Campaign(current_store(), context.campaign).state() is not None:
            return True
        data = self._data(context, len(given["waits_for"]), sorted(given["checks"] or {}))
        return done.asked == self._asked(
            context, given["species"], given["threshold"], data, [given["weights"], given["anchors"]]
        )

    def _asked(
        self,
        context: StageContext,
        species: list[str],
        threshold: Threshold,
        data: FirstData,
        files: Sequence[Artifact | None],
    ) -> str:
        """Hash the settings and data of the first model."""
        settings = {key: value for key, value in self.as_dict().items() if key not in ("category", "name")}
        read = [file.sha256 for file in files if file is not None]
        return settings_key([settings, species, threshold, context.seed, data.what, *read])

    def untrained(self, species: Sequence[str], weights: Path | None = None) -> ForceField:
        """Force field that the first fit begins with: of random weights, or pretrained.

        Parameters
        ----------
        species
            Chemical symbols that it has to describe.
        weights
            Local file of the pretrained weights; None: what ``pretrained`` stands for.

        Raises
        ------
        InputError
            For settings that are impossible, unknown species, and weights that cannot be read or are not there.
        """
        if self.pretrained is None:
            return get_force_field(self.force_field, species=list(species), **self.force_field_settings)
        settings = {**self.force_field_settings, **({"freeze": self.freeze} if self.freeze else {})}
        asked = None if self.force_field == "local" else self.force_field
        return begun_from(self.pretrained, weights, settings, species, asked)

    def anchors(self, file: Path | None = None) -> int | list[Atoms]:
        """How many anchors are made, or the structures of the file that has them, a copy of which may be given.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        return self.anchor if isinstance(self.anchor, int) else anchors_of(file or Path(self.anchor))

    @stage(output_schema=BootstrapDoc, reuse=_goes_on)
    def fit(
        self,
        context: StageContext,
        species: list[str],
        threshold: Threshold,
        waits_for: Sequence[object] = (),
        checks: Mapping[str, int] | None = None,
        weights: Artifact | None = None,
        anchors: Artifact | None = None,
    ) -> BootstrapDoc:
        """Fit force field and distribution, and set the threshold.

        Parameters
        ----------
        species
            Chemical symbols of the frame.
        threshold
            Normalised uncertainty above which atoms trigger; ``auto`` derives it from the training set, ``{force_error: ...}``
            from the labels of the earlier campaign.
        waits_for
            Outputs of the label jobs, one for each label asked for; the labels themselves are read from the store.
        checks
            Labels that check the dataset: request key → number of the structure.
        weights, anchors
            Pretrained weights, and structures that hold them, where they come from a file.
        """
        store = artifact_store(context)
        data = self._data(context, len(waits_for), sorted(checks or {}))
        directory = work_directory(context, "bootstrap", fresh=True)
        labelled_here, failed, notes = len(data.frames), data.failed, data.notes
        if self.source == "dataset":
            with noted() as more:
                labelled_here, failed = check_dataset(str(self.dataset), data.frames, checks or {}, context)
            notes = list(dict.fromkeys([*notes, *more]))
        atom_steps = 0
        if self.source == "campaign":
            force_field, uncertainty, ledger = self._carried_on(store)
        else:
            data.check_enough()
            force_field, uncertainty, ledger, atom_steps = self._learned(context, data, species, weights, anchors)

        value = fixed(threshold)
        if value is None and self.source == "campaign":
            value = calibrated(threshold, Campaign.open(Path(str(self.campaign))))
        if value is None:
            value = uncertainty.auto_threshold()
        learner = store_learner(
            store,
            directory,
            0,
            force_field=force_field,
            uncertainty=uncertainty,
            ledger=ledger,
            before=None,
            consolidated=True,
        )
        return BootstrapDoc(
            source=self.source,
            asked=self._asked(context, species, threshold, data, [weights, anchors]),
            pretrained=self.pretrained,
            weights=weights,
            force_shift=shift_of(force_field),
            n_structures=len(ledger),
            n_labelled_here=labelled_here,
            failed=failed,
            notes=notes,
            train_errors=None if self.source == "campaign" else mean_errors(ledger.errors_of(held_out=False)),
            held_out_errors=None if self.source == "campaign" else mean_errors(ledger.errors_of(held_out=True)),
            threshold=value,
            too_few=uncertainty.too_few,
            atom_steps=atom_steps,
            learner=learner,
            **stamp(),
        )

    def _data(self, context: StageContext, n_asked: int, checks: Sequence[str]) -> FirstData:
        """Return the data that the first model is learned from."""
        if self.source == "campaign":
            return of_an_earlier_campaign(open_earlier(Path(str(self.campaign)))[2])
        if self.source == "dataset":
            with noted() as notes:
                frames = self.read()
            return of_a_dataset(artifact_store(context), frames, checks, notes)
        return of_labels(current_store(), context, n_asked)

    def read(self) -> list[Atoms]:
        """Read the dataset's structures; raises as :func:`~idealflow.workflow.frames.datasets.read_dataset` does."""
        return read_dataset(str(self.dataset), self.keys)

    def _learned(
        self,
        context: StageContext,
        data: FirstData,
        species: Sequence[str],
        weights: Artifact | None,
        anchors: Artifact | None,
    ) -> tuple[ForceField, Uncertainty, Ledger, int]:
        """Fit to the labelled structures, some of which are held out; returns what the fit cost, too."""
        frames = data.frames
        rng = generator(context.seed, 4)
        held = np.zeros(len(frames), dtype=bool)
        # there may be fewer structures than were asked for, since labels may fail
        n_held = min(self.n_held(len(frames)), len(frames) - 1)
        held[rng.choice(len(frames), n_held, replace=False)] = True
        training = [frames[int(i)] for i in np.flatnonzero(~held)]
        validation = [frames[int(i)] for i in np.flatnonzero(held)]
        everything = sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()} | set(species))
        local, kept = (None if file is None else artifact_store(context).get(file) for file in (weights, anchors))
        untrained = self.untrained(everything, local)
        if self.pretrained is not None and isinstance(untrained, Startable):
            untrained.start_here(*kept_structures(untrained, self.anchors(kept), child_seed(context.seed, 11)))
        force_field = untrained.copy()
        settings: dict[str, Any] = {
            "steps": self.fit_steps,
            "seed": child_seed(context.seed, 5),
            "validation": validation,
        }
        work = work_directory(context, "bootstrap-fit")  # a fit that was killed goes on from what it left there
        if isinstance(force_field, Consolidating):
            settings["checkpoint"] = work / "training"
        cost = force_field.fit(training, progress=_told, **settings).atom_steps
        shutil.rmtree(work)
        soap = SOAP(species=everything, **self.soap)
        uncertainty = uncertainty_class(self.uncertainty).begin(
            FirstEnvironments(frames, soap, self.pooled, seed=child_seed(context.seed, 6)),
            ForceFieldFit(force_field, untrained, training, self.fit_steps, seed=child_seed(context.seed, 8)),
            **self.all_uncertainty_settings,
        )
        errors = np.zeros((len(frames), 3))
        errors[~held], errors[held] = force_field.errors(training), force_field.errors(validation)
        ledger = Ledger()
        ledger.add(data.keys, errors, held_out=held.tolist())
        return force_field, uncertainty, ledger, cost

    def _carried_on(self, store: ArtifactStore) -> tuple[ForceField, Uncertainty, Ledger]:
        """Take over everything an earlier campaign knows, copied into this one's store; refuse another uncertainty."""
        jobstore, artifacts, learner = open_earlier(Path(str(self.campaign)))
        ledger = Ledger.load(artifacts, learner.ledger)
        frames = fetch_structures(jobstore, artifacts, ledger.keys)
        ledger.keys, ledger.left_out = shard_keys(write_shard(store, frames), len(frames)), []
        uncertainty = load_uncertainty_artifact(artifacts, learner)
        asked = uncertainty_class(self.uncertainty)
        if self.uncertainty_settings or (self.uncertainty != "soap" and not isinstance(uncertainty, asked)):
            raise InputError(
                f"bootstrap.campaign carries on the uncertainty of {self.campaign}, {uncertainty.name!r}, with its settings; "
                f"leave uncertainty ({self.uncertainty!r}) and uncertainty_settings out, or start from a dataset"
            )
        return load_force_field_artifact(artifacts, learner), uncertainty, ledger


def _told(step: int, steps: int, loss: float) -> None:
    emit(Progress("bootstrap", step=step, n_steps=steps, loss=loss))
