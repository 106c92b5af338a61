"""Learned labels that training must not use as they are: left out, or labelled again; then the model is brought in line.

A campaign comes here when its labeller was changed (`label.other_method` says what becomes of the labels of the other method),
and with labels that version 0.1.0 made without vacuum. Environments stay in the distribution and centres stay covered in
every case: what was met was met, whatever labelled it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jobflow import Flow, JobStore, Maker, OnMissing, Response
from pydantic import Field

from idealflow.core import ForceFieldFit, Uncertainty
from idealflow.forcefields import ForceField
from idealflow.former_names import formerly
from idealflow.schemas import LearnerVersion, RelabelDoc, StageContext, StoredFrame
from idealflow.schemas.campaign import OtherMethod
from idealflow.workflow.frames.encode import labelled_atoms, save_frame
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.keys import child_seed, settings_key
from idealflow.workflow.jobs.stage import Arguments, artifact_store, current_store, named, stage, stamp, work_directory
from idealflow.workflow.learner.ledger import Ledger, fetch_structures
from idealflow.workflow.learner.trial import mean_errors
from idealflow.workflow.learner.version import load_force_field_artifact, load_uncertainty_artifact, store_learner
from idealflow.workflow.stages.label import LabelMaker
from idealflow.workflow.stages.learned_labels import documents, learned_labels, left_out, refits

__all__ = ["RelabelMaker"]


@formerly("category")
@dataclass
class RelabelMaker(StableName, Maker):
    """Sort out learned labels of another method, or without vacuum, and bring the model in line with the rest.

    Attributes
    ----------
    fit_steps
        Gradient steps where the force field is fitted anew; None leaves it to the force field.
    """

    fit_steps: Annotated[int, Field(ge=1)] | None = None
    name: str = "relabel"

    @stage()
    def make(self, context: StageContext, label: LabelMaker, learner: LearnerVersion, choice: OtherMethod) -> Response:
        """Label again what has to be (for ``relabel``), then refit; the refit's output is a RelabelDoc."""
        ledger = Ledger.load(artifact_store(context), learner.ledger)
        sorted_labels = learned_labels(current_store(), context.campaign, ledger, label)
        jobs, asked = [], {}
        if choice == "relabel":
            old = documents(current_store(), context.campaign, left_out(sorted_labels, choice))
            for number, key in enumerate(sorted(old)):
                asked[key] = f"{key}/by-{label.science}"
                # as files: a queue keeps all these jobs in one document
                file = save_frame(artifact_store(context), labelled_atoms(old[key]))
                frame = StoredFrame(root=context.artifacts, file=file)
                new = label.make(context, frame, request=asked[key], origin="relabelled", replaces=key)
                jobs.append(named(new, context, "relabel-label", number))
        refit = self.refit(context, label, learner, choice, asked, [new.output for new in jobs])
        jobs.append(named(refit, context, "relabel-fit", missing=OnMissing.NONE))
        return Response(detour=Flow(jobs, name=self.name))

    def _asked(self, given: Arguments) -> str:
        """Hash of what a refit with these arguments is made with."""
        learner = given["learner"].model_dump()
        return settings_key([self.fit_steps, given["label"].key, given["choice"], learner, given["asked"]])

    def _same_asked(self, done: RelabelDoc, given: Arguments) -> bool:
        """Whether an interrupted run's refit is the one asked for now."""
        return done.asked == self._asked(given)

    @stage(output_schema=RelabelDoc, reuse=_same_asked)
    def refit(
        self,
        context: StageContext,
        label: LabelMaker,
        learner: LearnerVersion,
        choice: OtherMethod,
        asked: dict[str, str],
        waits_for: Sequence[object] = (),  # noqa: ARG002  # references that order the jobs
    ) -> RelabelDoc:
        """The ledger and the force field after the labels were sorted out; ``asked``: old request key → new one.

        Where labels were asked for and every one failed, the learner stays the version that it is.
        """
        jobstore, store = current_store(), artifact_store(context)
        before = Ledger.load(store, learner.ledger)
        sorted_labels = learned_labels(jobstore, context.campaign, before, label)
        out = left_out(sorted_labels, choice)
        new = documents(jobstore, context.campaign, asked.values())
        relabelled = {key: request for key, request in asked.items() if request in new}
        nothing = bool(asked) and not relabelled
        ledger = before if nothing else _sorted_out(before, out, relabelled)

        uncertainty = load_uncertainty_artifact(store, learner)
        fitted: ForceField | None = None
        if nothing:  # no label was made: the model and what it was trained on stay, until the labeller is mended
            pass
        elif refits(len(ledger), len(ledger.left_out), choice):
            fitted, uncertainty = self._fitted(context, ledger, learner, uncertainty)
        elif ledger.keys:
            structures = fetch_structures(jobstore, store, ledger.keys)
            ledger.errors = load_force_field_artifact(store, learner).errors(structures).tolist()
        after = learner
        if not nothing:
            after = store_learner(
                store,
                work_directory(context, "relabel", fresh=True),
                learner.version + 1,
                force_field=fitted,
                uncertainty=uncertainty,
                ledger=ledger,
                before=learner,
            )
        return RelabelDoc(
            choice=choice,
            asked=self._asked({"learner": learner, "label": label, "choice": choice, "asked": asked}),
            method=label.method,
            n_kept=len(ledger),
            left_out=sorted(ledger.left_out),
            relabelled=relabelled,
            failed={key: _cause(jobstore, request) for key, request in asked.items() if key not in relabelled},
            n_without_vacuum=len(sorted_labels.without_vacuum - relabelled.keys()),
            refitted=fitted is not None,
            errors=None if fitted is None else mean_errors(ledger.errors_of(held_out=False)),
            threshold=uncertainty.auto_threshold() if fitted and uncertainty.learns_labels else None,
            learner=after,
            **stamp(),
        )

    def _fitted(
        self, context: StageContext, ledger: Ledger, learner: LearnerVersion, uncertainty: Uncertainty
    ) -> tuple[ForceField, Uncertainty]:
        """Force field, and uncertainty where it follows, fitted to the ledger's structures; the ledger gets the new errors."""
        store = artifact_store(context)
        if all(ledger.held_out):  # what is left was kept out of training
            ledger.held_out = [False] * len(ledger)
        structures = fetch_structures(current_store(), store, ledger.keys)
        training = [atoms for atoms, held in zip(structures, ledger.held_out, strict=True) if not held]
        validation = [atoms for atoms, held in zip(structures, ledger.held_out, strict=True) if held]
        untrained = load_force_field_artifact(store, learner)
        force_field = untrained.copy()
        seed = child_seed(context.seed, 9, learner.version)
        force_field.fit(training, steps=self.fit_steps, seed=seed, validation=validation or None)
        fit = ForceFieldFit(force_field, untrained, training, self.fit_steps, seed)
        ledger.errors = force_field.errors(structures).tolist()
        return force_field, uncertainty.refit(fit)


def _sorted_out(before: Ledger, out: set[str], relabelled: dict[str, str]) -> Ledger:
    """The ledger with new labels in place of old ones, and without those that are left out."""
    unknown = [float("nan")] * 3
    entries = list(zip(before.keys, before.errors, before.held_out, strict=True))
    entries += [(key, unknown, False) for key in before.left_out]
    after = Ledger()
    for key, errors, held in entries:
        if key in relabelled:
            after.add([relabelled[key]], np.array([unknown]), held_out=[held])
        elif key in out:
            after.left_out.append(key)
        else:
            after.add([key], np.array([errors]), held_out=[held])
    return after


def _cause(store: JobStore, request: str) -> str:
    """Why a new label failed."""
    found = store.query_one({"output.request_key": request}, properties=["output.cause"], sort={"output.round": -1})
    return "the label left no document" if found is None else str(found["output"]["cause"])
