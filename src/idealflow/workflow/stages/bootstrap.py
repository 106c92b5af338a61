"""Stage 0: the first model, from small structures, from the user's dataset, or from an earlier campaign."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from jobflow import Flow, OnMissing

from idealflow.core import SOAP, FirstEnvironments, ForceFieldFit, Uncertainty, uncertainty_class
from idealflow.errors import InputError
from idealflow.forcefields import Consolidating, ForceField, Startable, weights_file
from idealflow.forcefields.pretrained import kept_structures
from idealflow.former_names import formerly
from idealflow.provenance import Campaign
from idealflow.schemas import Artifact, BootstrapDoc, StageContext
from idealflow.storage import ArtifactStore, shard_keys, write_shard
from idealflow.workflow.folder.earlier import open_earlier
from idealflow.workflow.frames.encode import to_stored
from idealflow.workflow.jobs.job_store import current_store
from idealflow.workflow.jobs.keys import child_seed, generator, settings_key
from idealflow.workflow.jobs.progress import Progress, emit, noted
from idealflow.workflow.jobs.stage import Arguments, artifact_store, named, stage, stamp, work_directory
from idealflow.workflow.learner.ledger import Ledger, fetch_structures
from idealflow.workflow.learner.trial import mean_errors, shift_of
from idealflow.workflow.learner.version import load_force_field_artifact, load_uncertainty_artifact, store_learner
from idealflow.workflow.stages.bootstrap_settings import BootstrapSettings
from idealflow.workflow.stages.dataset_check import check_dataset, check_request, to_check
from idealflow.workflow.stages.first_data import FirstData, of_a_dataset, of_an_earlier_campaign, of_labels
from idealflow.workflow.stages.label import LabelMaker
from idealflow.workflow.stages.pretrained import stored_file
from idealflow.workflow.stages.thresholds import Threshold, calibrated, fixed

__all__ = ["BootstrapMaker"]


@formerly("category")
@dataclass
class BootstrapMaker(BootstrapSettings):
    """Make the first force field and the first distribution.

    Exactly one source is used: ``campaign`` if given, else ``dataset`` if given, else ``seeds``. Its fields are those of
    :class:`~idealflow.workflow.stages.bootstrap_settings.BootstrapSettings`.

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
        atom_steps, largest_force = 0, 0.0
        if self.source == "campaign":
            force_field, uncertainty, ledger, largest_force = self._carried_on(store)
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
            largest_force=largest_force,
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
        report = force_field.fit(training, progress=_told, **settings)
        shutil.rmtree(work)
        soap = SOAP(species=everything, **self.soap)
        uncertainty = uncertainty_class(self.uncertainty).begin(
            FirstEnvironments(frames, soap, self.pooled, seed=child_seed(context.seed, 6)),
            ForceFieldFit(force_field, untrained, training, self.fit_steps, seed=child_seed(context.seed, 8)),
            **self.all_uncertainty_settings,
        )
        errors = np.zeros((len(frames), 3))
        errors[~held] = force_field.errors(training) if validation else report.errors
        errors[held] = report.errors if validation else np.zeros((0, 3))
        ledger = Ledger()
        ledger.add(data.keys, errors, held_out=held.tolist())
        return force_field, uncertainty, ledger, report.atom_steps

    def _carried_on(self, store: ArtifactStore) -> tuple[ForceField, Uncertainty, Ledger, float]:
        """Take over everything an earlier campaign knows, copied into this one's store; refuse another uncertainty.

        The last is the largest force on a core that it labelled.
        """
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
        return load_force_field_artifact(artifacts, learner), uncertainty, ledger, learner.largest_force


def _told(step: int, steps: int, loss: float) -> None:
    emit(Progress("bootstrap", step=step, n_steps=steps, loss=loss))
