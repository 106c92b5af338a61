"""The campaign as a jobflow Maker: bootstrap, rounds and evaluation, each a flow of its own that begins from the stored state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobflow import Flow, Job, OnMissing, Response

from idealflow.errors import InputError
from idealflow.former_names import formerly
from idealflow.provenance import Campaign
from idealflow.schemas import (
    BootstrapDoc,
    CampaignState,
    ConsolidationDoc,
    CropDoc,
    LearnerVersion,
    ModelUpdateDoc,
    ScreenDoc,
    SegmentDoc,
    StageContext,
    StoredFrame,
    SubstructureDoc,
)
from idealflow.storage import ArtifactStore
from idealflow.workflow.campaign.checks import check_campaign
from idealflow.workflow.campaign.continuation import (
    Submitted,
    check_budget,
    check_rounds,
    follow_up,
    rounds_of_a_flow,
)
from idealflow.workflow.campaign.opening import (
    context_of,
    first_frame,
    initial_state,
    kept,
    science_key,
)
from idealflow.workflow.campaign.reopening import reopened
from idealflow.workflow.campaign.said import say_what_is_done
from idealflow.workflow.campaign.settings import CampaignSettings
from idealflow.workflow.campaign.state import (
    Action,
    after_bootstrap,
    after_consolidation,
    after_evaluation,
    after_relabel,
    after_round,
    consolidation_budget,
    next_action,
)
from idealflow.workflow.frames.build import build_structure
from idealflow.workflow.frames.encode import load_frame
from idealflow.workflow.jobs.job_store import current_store
from idealflow.workflow.jobs.progress import noted
from idealflow.workflow.jobs.stage import Arguments, named, stage
from idealflow.workflow.stages.consolidate import ConsolidationMaker
from idealflow.workflow.stages.relabel import RelabelMaker
from idealflow.workflow.stages.thresholds import fixed

__all__ = ["IdealMaker"]


@formerly("category")
@dataclass
class IdealMaker(CampaignSettings):
    """An IDEAL campaign: MD on a force field that learns small cells, cut out wherever a frame is uncertain.

    A round is one MD segment of every walker, a screen of its last frame, and a crop search, relaxation and label for each
    uncertain atom, then one update of the model. :meth:`make` gives a flow for jobflow; :func:`~idealflow.run_campaign` runs the
    campaign on this machine.

    Its fields are those of :class:`~idealflow.workflow.campaign.settings.CampaignSettings`: settings of the campaign, and
    one Maker for each stage.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker, MDSegmentMaker
    >>> maker = IdealMaker(
    ...     campaign="copper",
    ...     segment=MDSegmentMaker(schedule=[{"kind": "hold", "temperature": 300.0, "steps": 1000}]),
    ...     label=LabelMaker(AseLabeller("ase.calculators.emt.EMT", reference="EMT (stands in for DFT)")),
    ...     artifacts="memory://copper",
    ... )
    >>> flow = maker.make(bulk("Cu", cubic=True) * 3)
    >>> flow.name, [job.name for job in flow.jobs]
    ('IDEAL copper', ['open copper'])
    """

    def make(self, structure: Any, notes: Sequence[str] = ()) -> Flow:
        """Flow that starts the campaign, or continues it where the store says it stands.

        Parameters
        ----------
        structure
            The frame at step 0: ase Atoms, pymatgen Structure, a file, or a builder mapping.
        notes
            Messages about the structure from when its file was read, kept with a new campaign.

        Raises
        ------
        InputError
            Before anything is computed, if the structure or a setting breaks a rule.
        """
        check_rounds(self.continuation, self.max_rounds)
        check_budget(self.budget)
        with noted() as more:
            atoms = build_structure(structure)
            check_campaign(self, atoms)
            say_what_is_done(self, atoms)
        opening = self.open(kept(self, atoms), list(dict.fromkeys([*notes, *more])))
        opening.name = f"open {self.campaign}"
        opening.update_metadata({"campaign": self.campaign, "stage": "open"}, dynamic=False)
        if "default" in self.queues:
            opening.config.manager_config = {"_category": self.queues["default"]}
        return Flow([opening], name=f"{self.name} {self.campaign}")

    def flow(self, state: CampaignState, action: Action, remaining: int | None) -> Flow:
        """The flow of one action: bootstrap, one round, or the evaluation.

        Parameters
        ----------
        state, action
            The campaign's state, and its next action.
        remaining
            Further actions that the flow may add at its end; None: none, whoever runs the flow decides what follows.

        Raises
        ------
        InputError
            If nothing is left to do.
        """
        if action.kind == "stop":
            raise InputError(f"campaign {state.campaign} has nothing left to do: {action.reason}")
        context = context_of(self, state)
        build = {
            "bootstrap": self._bootstrap_flow,
            "relabel": self._relabel_flow,
            "round": self._round_flow,
            "consolidate": self._consolidation_flow,
            "evaluate": self._evaluation_flow,
        }
        return build[action.kind](context, state, action, remaining)

    @stage()
    def open(self, frame: StoredFrame, notes: Sequence[str] = ()) -> Response:
        """Find the campaign's last state, or make its first, and add the flow of its next action."""
        stored = Campaign(current_store(), self.campaign).state()
        atoms = load_frame(ArtifactStore(frame.root), frame.file)
        state = initial_state(self, atoms, notes) if stored is None else reopened(self, stored, atoms, current_store())
        action = next_action(state)
        if action.kind == "stop":
            return Response(output={"campaign": self.campaign, "status": state.status, "reason": action.reason})
        output = {"campaign": self.campaign, "status": "running", "reason": action.reason}
        if self.continuation == "launchpad":
            self._submit(state, action)
            return Response(output=output)
        return Response(output=output, addition=self.flow(state, action, rounds_of_a_flow(self.max_rounds) - 1))

    def _bootstrap_flow(self, context: StageContext, state: CampaignState, _: Action, remaining: int | None) -> Flow:
        inner = self.bootstrap.make(context, first_frame(state), self.label, self.threshold, check=self.learn)
        commit = self.commit_bootstrap(state, inner.output, remaining)
        return Flow([inner, named(commit, context, "state")], name=f"bootstrap {self.campaign}")

    def _round_flow(self, context: StageContext, state: CampaignState, action: Action, remaining: int | None) -> Flow:
        learner, threshold = state.learner, state.threshold if self.learn else None
        jobs: list[Job] = []
        segments, screens, dispatched, frames = [], [], [], {}
        for number in action.walkers:
            watched = None if self.learn else state.threshold
            segment = self.segment.make(context, state.walkers[number], learner, threshold, watched)
            jobs.append(named(segment, context, "segment", number))
            segments.append(segment.output)
            if not self.learn:
                continue
            screen = named(self.screen.make(context, segment.output, learner, threshold), context, "screen", number)
            dispatch = self.dispatch(context, segment.output, screen.output, screen.uuid, learner)
            jobs += [screen, named(dispatch, context, "dispatch", number)]
            screens.append(screen.output)
            dispatched.append(dispatch.output)
            frames[str(number)] = segment.output.frame
        updated = None
        if self.learn:
            update = self.update.make(
                context, learner, frames, dispatched, state.lift_quarantine, state.lost_labels, self.label
            )
            jobs.append(named(update, context, "update", missing=OnMissing.NONE))
            updated = update.output
        commit = self.commit_round(state, segments, screens, updated, remaining)
        jobs.append(named(commit, context, "state"))
        return Flow(jobs, name=f"round {state.round} {self.campaign}")

    def _relabel_flow(self, context: StageContext, state: CampaignState, _: Action, remaining: int | None) -> Flow:
        sort = RelabelMaker(self.bootstrap.fit_steps, self.update.mask_shell_forces).make(
            context, self.label, state.learner, state.sort_labels
        )
        commit = self.commit_relabel(state, sort.output, remaining)
        jobs = [named(sort, context, "relabel"), named(commit, context, "state")]
        return Flow(jobs, name=f"relabel {self.campaign}")

    def _consolidation_flow(
        self, context: StageContext, state: CampaignState, action: Action, remaining: int | None
    ) -> Flow:
        update = self.update
        consolidate = ConsolidationMaker(
            update.consolidation_steps, update.consolidation_learning_rate, update.consolidation_start, update
        ).make(
            context,
            state.learner,
            consolidation_budget(state),
            last=not action.walkers,
            gentler=state.n_discarded_consolidations > 0,
            label=self.label,
        )
        commit = self.commit_consolidation(state, consolidate.output, remaining)
        jobs = [named(consolidate, context, "consolidate"), named(commit, context, "state")]
        return Flow(jobs, name=f"consolidation {self.campaign}")

    def _evaluation_flow(self, context: StageContext, state: CampaignState, _: Action, remaining: int | None) -> Flow:
        evaluate = self.evaluation.make(
            context, self.label, self.segment.plan().to_dict(), state.first_learner, state.learner
        )
        commit = self.commit_evaluation(state, evaluate.output, remaining)
        jobs = [named(evaluate, context, "evaluate"), named(commit, context, "state")]
        return Flow(jobs, name=f"evaluation {self.campaign}")

    def asked_evaluation(self, state: CampaignState, n_frames: int) -> Flow:
        """Flow of an evaluation that a user asked for: it stores an EvaluationDoc and does not change the campaign's state."""
        context = context_of(self, state)
        asked = replace(self.evaluation, n_frames=n_frames)
        plan = self.segment.plan().to_dict()
        evaluate = asked.make(context, self.label, plan, state.first_learner, state.learner, asked=True)
        named(evaluate, context, "evaluation-asked", n_frames)
        return Flow([evaluate], name=f"evaluation {self.campaign}")

    @stage()
    def dispatch(
        self, context: StageContext, segment: SegmentDoc, screen: ScreenDoc, screen_uuid: str, learner: LearnerVersion
    ) -> Response:
        """Start crop search, relaxation and label for every chosen centre, side by side."""
        n_keep = max(self.n_attempts, self.relax.max_crops)
        jobs: list[Job] = []
        settled: list[object] = []
        for centre in screen.centres:
            where = (screen.walker, screen.step, centre.atom)
            crop = self.crop.make(context, segment.frame, screen, screen_uuid, centre, learner, self.embedding, n_keep)
            named(crop, context, "crop", *where)
            relax, label, settle = self._attempt(context, crop.output, crop.uuid, learner, where, 0)
            jobs += [crop, relax, label, settle]
            settled.append(settle.output)
        output = {"campaign": context.campaign, "n_centres": len(screen.centres)}
        if not jobs:
            return Response(output=output)
        jobs.append(named(self.gather(context, settled), context, "gather", screen.walker, missing=OnMissing.NONE))
        return Response(output=output, detour=Flow(jobs, name="substructures"))

    @stage()
    def gather(self, context: StageContext, settled: Sequence[Mapping[str, str] | None]) -> dict[str, object]:
        """Wait for every substructure of a frame; the output says how their first attempts ended."""
        return {"campaign": context.campaign, "settled": [None if end is None else end["settled"] for end in settled]}

    def _attempt(
        self,
        context: StageContext,
        crop: object,
        crop_uuid: str,
        learner: LearnerVersion,
        where: tuple[int, ...],
        attempt: int,
    ) -> tuple[Job, Job, Job]:
        """Jobs that relax and label a crop, and add another attempt if the label failed."""
        relax = named(self.relax.make(context, crop, crop_uuid, learner, attempt), context, "relax", *where, attempt)
        label = named(self.label.make(context, relax.output), context, "label", *where, attempt)
        settle = self.settle(context, label.output, crop_uuid, learner, attempt)
        named(settle, context, "settle", *where, attempt, missing=OnMissing.NONE)
        return relax, label, settle

    @stage()
    def settle(
        self,
        context: StageContext,
        label: SubstructureDoc | None,
        crop_uuid: str,
        learner: LearnerVersion,
        attempt: int,
    ) -> Response:
        """After a failed label, try the next best crop while there is one and ``n_attempts`` allows."""
        if label is None:
            return Response(output={"campaign": context.campaign, "settled": "the label's job was lost"})
        if label.state != "failed":
            return Response(output={"campaign": context.campaign, "settled": label.state})
        found = current_store().query_one({"uuid": crop_uuid}, properties=["output"], load=True)
        crop = CropDoc.model_validate(found["output"])
        if attempt + 1 >= min(self.n_attempts, len(crop.chosen)):
            return Response(output={"campaign": context.campaign, "settled": "failed"})
        where = (label.walker, label.step, label.atom)
        jobs = list(self._attempt(context, crop, crop_uuid, learner, where, attempt + 1))
        return Response(output={"campaign": context.campaign, "settled": "again"}, detour=Flow(jobs, name="next crop"))

    def _go_on(self, state: CampaignState, given: Arguments) -> Response:
        """The committed state as the job's output, with the flow that follows, if any."""
        remaining, action = given["remaining"], next_action(state)
        if action.kind == "stop" or remaining is None:
            return Response(output=state)
        if self.continuation == "launchpad":
            if self._submit(state, action) == "held":
                reason = f"paused after round {state.round - 1}; `idealflow submit` goes on"
                return Response(output=state.model_copy(update={"status": "paused", "reason": reason}))
            return Response(output=state.model_copy(update={"status": "running", "reason": "under way"}))
        if remaining > 0:
            return Response(output=state, addition=self.flow(state, action, remaining - 1))
        paused = {
            "status": "paused",
            "reason": f"max_rounds = {rounds_of_a_flow(self.max_rounds)} rounds of this call are done at round {state.round}; "
            "run the same flow again on the same store to go on",
        }
        return Response(output=state.model_copy(update=paused))

    @stage(then=_go_on)
    def commit_bootstrap(self, state: CampaignState, bootstrap: BootstrapDoc, remaining: int | None) -> CampaignState:  # noqa: ARG002  # what follows is added by it
        """Commit the state after the bootstrap."""
        return after_bootstrap(state, bootstrap, fixed(self.threshold))

    @stage(then=_go_on)
    def commit_round(
        self,
        state: CampaignState,
        segments: Sequence[SegmentDoc],
        screens: Sequence[ScreenDoc],
        update: ModelUpdateDoc | None,
        remaining: int | None,  # noqa: ARG002  # the same
    ) -> CampaignState:
        """Commit the state after a round."""
        seconds = Campaign(current_store(), state.campaign).round_seconds(state.round)
        return after_round(state, segments, screens, update, seconds)

    @stage(then=_go_on)
    def commit_relabel(self, state: CampaignState, relabel: object, remaining: int | None) -> CampaignState:  # noqa: ARG002  # `relabel` orders the jobs
        """Commit the state after learned labels were sorted out."""
        doc = Campaign(current_store(), state.campaign).relabellings()[-1]
        return after_relabel(state, doc, automatic=self.threshold == "auto")

    @stage(then=_go_on)
    def commit_consolidation(
        self,
        state: CampaignState,
        consolidation: ConsolidationDoc,
        remaining: int | None,  # noqa: ARG002  # the same
    ) -> CampaignState:
        """Commit the state after all data were learned together."""
        return after_consolidation(state, consolidation)

    @stage(then=_go_on)
    def commit_evaluation(self, state: CampaignState, evaluate: object, remaining: int | None) -> CampaignState:  # noqa: ARG002  # `evaluate` orders the jobs
        """Commit the state after the whole-frame comparison."""
        doc = Campaign(current_store(), state.campaign).evaluation()
        if doc is None:
            raise InputError(f"campaign {state.campaign}: the evaluation left no document")
        return after_evaluation(state, doc)

    def _submit(self, state: CampaignState, action: Action) -> Submitted:
        """Hand the flow of the next action to the driver that submits flows; it does so once, however often this runs."""
        submit = follow_up("launchpad")
        return submit(
            self.flow(state, action, 1),
            campaign=state.campaign,
            number=state.round,
            settings=science_key(self),
            launchpad=self.launchpad,
        )
