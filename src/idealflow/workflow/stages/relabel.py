"""Learned labels that training must not use as they are: left out or labelled again, and the model brought in line.

A campaign needs this stage after its labeller was changed (`label.other_method` says what becomes of labels of the former
method), and if version 0.1.0 made some of its labels without vacuum. Environments stay in the distribution and centres stay
covered in every case: they were met, whatever labelled them.
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
from idealflow.schemas import LabelledDoc, LearnerVersion, RelabelDoc, StageContext, StoredFrame
from idealflow.schemas.campaign import OtherMethod
from idealflow.workflow.frames.encode import labelled_atoms, save_frame
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.job_store import current_store
from idealflow.workflow.jobs.keys import child_seed, settings_key
from idealflow.workflow.jobs.stage import Arguments, artifact_store, named, stage, stamp, work_directory
from idealflow.workflow.learner.ledger import Ledger, fetch_structures
from idealflow.workflow.learner.trial import mean_errors
from idealflow.workflow.learner.version import load_force_field_artifact, load_uncertainty_artifact, store_learner
from idealflow.workflow.stages.awaited import refuse_awaited
from idealflow.workflow.stages.label import LabelMaker
from idealflow.workflow.stages.learned_labels import documents, learned_labels, left_out, refits
from idealflow.workflow.stages.round_labels import substructures_of

__all__ = ["RelabelMaker"]


@formerly("category")
@dataclass
class RelabelMaker(StableName, Maker):
    """Leave out or make again learned labels of another method, or without vacuum, and bring the model in line with the rest.

    Attributes
    ----------
    fit_steps
        Gradient steps of a new fit of the force field; None leaves the number to the force field.
    mask_shell_forces
        Leave the forces of shell atoms out of the loss.

    Examples
    --------
    One label by EMT and two by another method, which are left out. First the labels, made by stages that run alone:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from ase.build import bulk
    >>> from jobflow import run_locally
    >>> from maggma.stores import MemoryStore
    >>> from idealflow import AseLabeller
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> from idealflow.provenance import sample_campaign
    >>> emt, other = (LabelMaker(AseLabeller(f"ase.calculators.{kind}")) for kind in ("emt.EMT", "lj.LennardJones"))
    >>> cells = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6, 3.7)]
    >>> store = JobStore(MemoryStore())
    >>> for i, (cell, maker) in enumerate(zip(cells, [emt, other, other])):
    ...     outputs = run_locally(maker.make(cell, f"copper/{i}"), store=store, log=False)

    Then a learner that knows them:

    >>> context = StageContext(campaign="alone", round=1, seed=0, artifacts="artifacts", work="work")
    >>> ledger = Ledger()
    >>> ledger.add(["copper/0", "copper/1", "copper/2"], np.zeros((3, 3)))
    >>> learner = store_learner(
    ...     artifact_store(context), Path(tempfile.mkdtemp()), 0, ledger=ledger, before=None,
    ...     force_field=sample_campaign().model(),
    ...     uncertainty=UncertaintyModel.fit(cells, SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3)),
    ... )

    The next version is trained on the first label alone from now on. One structure is too few to fit anew to, so the force field
    stays:

    >>> refit = RelabelMaker().refit(context, emt, learner, "leave_out", {})
    >>> doc = run_locally(refit, store=store, log=False)[refit.uuid][1].output
    >>> doc.n_kept, doc.left_out, doc.refitted, doc.learner.version
    (1, ['copper/1', 'copper/2'], False, 1)
    """

    fit_steps: Annotated[int, Field(ge=1)] | None = None
    mask_shell_forces: bool = False
    name: str = "relabel"

    @stage()
    def make(self, context: StageContext, label: LabelMaker, learner: LearnerVersion, choice: OtherMethod) -> Response:
        """Return a flow of the labels that are made again, for ``relabel``, and of the refit, whose output is a RelabelDoc."""
        ledger = Ledger.load(artifact_store(context), learner.ledger)
        sorted_labels = learned_labels(current_store(), context.campaign, ledger, label)
        jobs, asked = [], {}
        if choice == "relabel":
            old = documents(current_store(), context.campaign, left_out(sorted_labels, choice))
            for number, key in enumerate(sorted(old)):
                asked[key] = f"{key}/by-{label.science}"
                # as a file, since a queue keeps all these jobs in one document
                file = save_frame(artifact_store(context), labelled_atoms(old[key]))
                frame = StoredFrame(root=context.artifacts, file=file)
                new = label.make(context, frame, request=asked[key], origin="relabelled", replaces=key)
                jobs.append(named(new, context, "relabel-label", number))
        refit = self.refit(context, label, learner, choice, asked, [new.output for new in jobs])
        jobs.append(named(refit, context, "relabel-fit", missing=OnMissing.NONE))
        return Response(detour=Flow(jobs, name=self.name))

    def _asked(self, given: Arguments) -> str:
        """Hash the settings and arguments of a refit."""
        learner = given["learner"].model_dump(exclude_none=True)
        masked = ["mask_shell_forces"] if self.mask_shell_forces else []
        return settings_key([self.fit_steps, given["label"].key, given["choice"], learner, given["asked"], *masked])

    def _same_asked(self, done: RelabelDoc, given: Arguments) -> bool:
        """Tell whether the refit of an interrupted run is the one asked for now."""
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
        """Sort the labels, fit the force field anew if need be, and store the learner.

        If labels were made again and every one failed, the learner stays as it is.

        Parameters
        ----------
        label
            The present method.
        asked
            Request key of each label that was made again → key of the new label.
        waits_for
            Outputs of the label jobs; only their order matters, the labels are read from the store.

        Raises
        ------
        LabelsAwaitedError
            If some of the new labels are computed elsewhere and not brought back yet.
        """
        jobstore, store = current_store(), artifact_store(context)
        before = Ledger.load(store, learner.ledger)
        sorted_labels = learned_labels(jobstore, context.campaign, before, label)
        out = left_out(sorted_labels, choice)
        refuse_awaited(_asked_anew(jobstore, context, asked))
        new = documents(jobstore, context.campaign, asked.values())
        relabelled = {key: request for key, request in asked.items() if request in new}
        nothing = bool(asked) and not relabelled
        ledger = before if nothing else _sorted_out(before, out, relabelled)
        waiting = substructures_of(jobstore, context.campaign, before.waiting)
        ledger.waiting = [doc.request_key for doc in waiting if label.learnable(doc)]

        uncertainty = load_uncertainty_artifact(store, learner)
        fitted: ForceField | None = None
        if nothing:  # without new labels the model and its training set stay, until the labeller is mended
            pass
        elif refits(len(ledger), len(ledger.left_out), choice):
            fitted, uncertainty = self._fitted(context, ledger, learner, uncertainty)
        elif ledger.keys:
            structures = fetch_structures(jobstore, store, ledger.keys, core_forces=self.mask_shell_forces)
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
                consolidated=fitted is not None,
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
        """Fit the force field, and an uncertainty that depends on it, to the ledger's structures; renew the ledger's errors."""
        store = artifact_store(context)
        if all(ledger.held_out):  # only structures that were kept out of training are left
            ledger.held_out = [False] * len(ledger)
        structures = fetch_structures(current_store(), store, ledger.keys, core_forces=self.mask_shell_forces)
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
    """Return the ledger with new labels in place of old ones, and without those that are left out."""
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


def _asked_anew(store: JobStore, context: StageContext, asked: dict[str, str]) -> list[LabelledDoc]:
    """The documents of this round's new labels, whatever became of them."""
    query = {
        "output.campaign": context.campaign,
        "output.round": context.round,
        "output.request_key": {"$in": sorted(asked.values())},
    }
    return [
        LabelledDoc.model_validate(entry["output"]) for entry in store.query(query, properties=["output"], load=True)
    ]


def _cause(store: JobStore, request: str) -> str:
    """Tell why a new label failed."""
    found = store.query_one({"output.request_key": request}, properties=["output.cause"], sort={"output.round": -1})
    return "the label left no document" if found is None else str(found["output"]["cause"])
