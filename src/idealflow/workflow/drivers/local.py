"""Run a campaign on this machine: one flow after another, each of one round, without a server.

The jobs of a flow run in this process, or side by side in worker processes (:mod:`~idealflow.workflow.drivers.pool`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jobflow import JobStore

from idealflow.errors import InputError, LabelsAwaitedError
from idealflow.provenance import Campaign
from idealflow.schemas import CampaignState, EvaluationDoc, StoredStructure
from idealflow.wording import counted
from idealflow.workflow.campaign.ideal import IdealMaker
from idealflow.workflow.campaign.opening import first_frame, initial_state
from idealflow.workflow.campaign.reopening import reopened
from idealflow.workflow.campaign.state import Action, next_action
from idealflow.workflow.drivers.budget import LabelBudget
from idealflow.workflow.drivers.machine import whole_share
from idealflow.workflow.drivers.pool import Pool
from idealflow.workflow.drivers.run_flow import FlowRunner
from idealflow.workflow.frames.build import build_structure
from idealflow.workflow.frames.encode import carried, to_atoms
from idealflow.workflow.jobs.job_store import is_private
from idealflow.workflow.jobs.progress import Progress, emit, noted

__all__ = ["check_site", "evaluate_campaign", "open_state", "run_campaign"]

_DONE = {
    "bootstrap": "the bootstrap",
    "relabel": "relabelling",
    "round": "it",
    "consolidate": "consolidation",
    "evaluate": "evaluation",
}
_ASKED_FRAMES = 5  # if neither the call nor the config says how many


def open_state(
    maker: IdealMaker,
    structure: Atoms | StoredStructure,
    store: JobStore,
    notes: Sequence[str] = (),
    former: IdealMaker | None = None,
) -> CampaignState:
    """The campaign's stored state, brought in line with the Maker's settings; or the first state of a new campaign.

    Parameters
    ----------
    maker
        The campaign.
    structure
        The frame at step 0.
    store
        Any jobflow JobStore.
    notes
        Messages about the input, kept with a new campaign.
    former
        The Maker with which a campaign of version 0.1.0 was last run, if it is known: that version did not store it.

    Raises
    ------
    InputError
        If this machine cannot label (:func:`check_site`), before anything is written; and as
        :func:`~idealflow.workflow.campaign.reopening.reopened` for settings that contradict what was run.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from jobflow import JobStore
    >>> from maggma.stores import MemoryStore
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> from idealflow.workflow.drivers.local import open_state
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> state = open_state(maker, bulk("Cu", cubic=True) * 3, JobStore(MemoryStore()))
    >>> state.campaign, state.status, state.round, state.n_atoms
    ('copper', 'running', 0, 108)
    """
    stored = Campaign(store, maker.campaign).state()
    atoms = to_atoms(structure) if isinstance(structure, StoredStructure) else structure
    check_site(maker, atoms, None if stored is None else next_action(stored))
    if stored is None:
        return initial_state(maker, atoms, notes)
    opened = reopened(maker, stored, atoms, store, former)
    check_site(maker, atoms, next_action(opened))
    return opened


def check_site(maker: IdealMaker, atoms: Atoms, action: Action | None = None) -> None:
    """Refuse to go on if something will be labelled and this machine cannot do it.

    Parameters
    ----------
    maker
        The campaign.
    atoms
        The frame at step 0: its species are those to be labelled.
    action
        The campaign's next action; None: its first.

    Raises
    ------
    InputError
        Naming what is missing and the setting that mends it.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import IdealMaker, LabelMaker, vasp_static
    >>> from idealflow.workflow.drivers.local import check_site
    >>> maker = IdealMaker(label=LabelMaker(vasp_static(vasp_cmd="absent_vasp")))
    >>> check_site(maker, bulk("Cu"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: VASP cannot label on this machine: `absent_vasp` of the command ...
    """
    kind = "bootstrap" if action is None else action.kind
    first = kind == "bootstrap" and maker.bootstrap.source == "structures"
    later = kind != "stop" and (maker.learn or maker.evaluation.n_frames > 0)
    if kind == "relabel" or first or later:
        maker.label.check_site([chemical_symbols[number] for number in np.unique(atoms.numbers)])


def run_campaign(
    maker: IdealMaker,
    structure: Any,
    store: JobStore,
    *,
    state: CampaignState | None = None,
    max_rounds: int | None = None,
    workers: int | None = None,
    on_round: Callable[[CampaignState], None] | None = None,
    root_dir: Any = None,
    notes: Sequence[str] = (),
) -> CampaignState:
    """Run, or continue, a campaign on this machine until it is finished, failed, or has run ``max_rounds`` rounds.

    Each action (the bootstrap, a round, the evaluation) is a flow of its own, which is forgotten when it is done: memory and
    time per round do not depend on the rounds behind it. If a process is killed, at any moment, the same call
    goes on from what is stored.

    Parameters
    ----------
    maker
        The campaign. How many actions this call runs at most is the Maker's ``max_rounds``.
    structure
        The frame at step 0: ase Atoms, a pymatgen Structure, a file, a builder mapping, or a stored structure.
    store
        Any jobflow JobStore; it is connected if need be.
    state
        The campaign's state, if :func:`open_state` has opened it already.
    max_rounds
        The same as the Maker's ``max_rounds``, for callers that give it here.
    workers
        Processes that do the jobs of a round side by side; None: the Maker's ``workers``, and where it has none 1, which is this
        process. More than one need a store that several processes see, and in a script ``if __name__ == "__main__":`` around
        the call. No result depends on it.
    on_round
        Function that is called with the state after each action, a :class:`~idealflow.schemas.CampaignState`.
    root_dir
        Folder in which the jobs run; default: the current one.
    notes
        Messages about the input, kept with a new campaign: what was said when its file was read.

    Returns
    -------
    CampaignState
        The last state; ``paused`` if ``max_rounds`` or the Maker's ``budget`` ended it, or if labels that are computed
        elsewhere are awaited.

    Raises
    ------
    InputError
        Before anything is computed or written: if a setting or the structure breaks a rule, if ``max_rounds`` is given
        twice, if workers cannot see the store, or if this machine cannot label (VASP or its pseudopotentials are missing).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from jobflow import JobStore
    >>> from maggma.stores import MemoryStore
    >>> from idealflow import IdealMaker, run_campaign
    >>> maker = IdealMaker(campaign="copper", continuation="launchpad")
    >>> run_campaign(maker, bulk("Cu", cubic=True), JobStore(MemoryStore()))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: continuation = launchpad is for rounds that are submitted to FireWorks, ...
    """
    rounds = _max_rounds(maker, max_rounds)
    if state is None and not isinstance(structure, StoredStructure):
        with noted() as more:
            structure = carried(build_structure(structure))
        notes = list(dict.fromkeys([*notes, *more]))
    store.connect()
    _check_workers(workers or maker.workers or 1, store)
    state = state or open_state(maker, structure, store, notes)
    budget = None
    if "label_core_hours" in maker.budget:
        budget = LabelBudget(Campaign(store, state.campaign), maker.budget["label_core_hours"], state.round)
    done = 0
    with _runner(workers or maker.workers or 1, store, root_dir, budget) as runner:
        while (action := next_action(state)).kind != "stop":
            if rounds is not None and done >= rounds:
                return _paused(state, f"{counted(rounds, 'round')} done; the same command goes on from here")
            try:
                after = _run_action(maker, state, action, store, runner)
            except LabelsAwaitedError as waits:
                return _paused(state, str(waits))
            if after is None:
                return _paused(state, "" if budget is None else budget.told())
            state = after
            done += 1
            if budget is not None:
                budget.begin(state.round)
            if on_round is not None:
                on_round(state)
    return state


def _paused(state: CampaignState, reason: str) -> CampaignState:
    """The state, paused for this call; the store does not know it."""
    return state.model_copy(update={"status": "paused", "reason": reason})


def _check_workers(workers: int, store: JobStore) -> None:
    """Refuse workers that could not do anything."""
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}; 1 runs every job in this process")
    if workers > 1 and is_private(store):
        raise InputError(
            f"workers = {workers} need a job store that several processes see, got a {type(store.docs_store).__name__}; use "
            "idealflow.storage.SQLiteStore or a MongoStore, or workers=1"
        )


@contextmanager
def _runner(workers: int, store: JobStore, root_dir: Any, budget: LabelBudget | None = None) -> Iterator[FlowRunner]:
    """What runs flows, with its workers if they are more than this process."""
    folder = Path.cwd() if root_dir is None else Path(root_dir).absolute()
    folder.mkdir(exist_ok=True)
    if workers == 1:
        yield FlowRunner(store, str(folder), None, budget)
        return
    with Pool(workers, whole_share(workers), store, str(folder)) as pool:
        yield FlowRunner(store, str(folder), pool, budget)


def _max_rounds(maker: IdealMaker, given: int | None) -> int | None:
    """Rounds that a call runs at most; InputError where Maker and call contradict each other."""
    if maker.continuation == "launchpad":
        raise InputError(
            "continuation = launchpad is for rounds that are submitted to FireWorks, but run_campaign runs them here; leave "
            "continuation out"
        )
    if given is None or maker.max_rounds is None:
        return maker.max_rounds if given is None else given
    if given != maker.max_rounds:
        raise InputError(
            f"max_rounds is {maker.max_rounds} in the Maker and {given} in the call; give it once, to the Maker"
        )
    return given


def evaluate_campaign(
    maker: IdealMaker,
    store: JobStore,
    artifacts: str,
    *,
    n_frames: int | None = None,
    workers: int | None = None,
    root_dir: Any = None,
) -> EvaluationDoc:
    """Compare the first and the present model with the reference now, at whatever point the campaign is: `idealflow evaluate`.

    The campaign's state is not changed: it goes on as if there had been no evaluation.

    Parameters
    ----------
    maker
        The campaign, with the settings of its last run.
    store
        The job store that has its documents.
    artifacts
        Root URL of its artifact store.
    n_frames
        Whole frames to label; None: as many as the Maker's ``evaluation`` says, or 5 if it says none.
    workers
        As for :func:`run_campaign`.
    root_dir
        Folder in which the jobs run; default: the current one.

    Returns
    -------
    EvaluationDoc
        Errors of both models on every frame that was labelled.

    Raises
    ------
    InputError
        If there is no model or no stored frame yet, or this machine cannot label.

    Examples
    --------
    >>> from jobflow import JobStore
    >>> from maggma.stores import MemoryStore
    >>> from idealflow import IdealMaker
    >>> from idealflow.workflow.drivers.local import evaluate_campaign
    >>> evaluate_campaign(IdealMaker(campaign="copper"), JobStore(MemoryStore()), "artifacts")
    Traceback (most recent call last):
    idealflow.errors.InputError: campaign copper has no model yet; let it run at least through its bootstrap
    """
    campaign = Campaign(store, maker.campaign)
    state = campaign.state()
    if state is None or state.learner is None:
        raise InputError(f"campaign {maker.campaign} has no model yet; let it run at least through its bootstrap")
    if not any(doc.trajectory for doc in campaign.segments()):
        raise InputError(f"campaign {maker.campaign} has stored no frame yet; let it run a round")
    state = state.model_copy(update={"artifacts": artifacts})
    maker.label.check_site(sorted(set(first_frame(state).get_chemical_symbols())))
    flow = maker.asked_evaluation(state, n_frames or maker.evaluation.n_frames or _ASKED_FRAMES)
    _check_workers(workers or maker.workers or 1, store)
    with _runner(workers or maker.workers or 1, store, root_dir) as runner:
        runner.run(flow)
    doc = campaign.evaluation()
    if doc is None:
        raise RuntimeError(f"the evaluation of round {state.round} left no document")
    return doc


def _run_action(
    maker: IdealMaker, state: CampaignState, action: Action, store: JobStore, runner: FlowRunner
) -> CampaignState | None:
    """The state after an action; None if the budget was used up before its end."""
    started = time.perf_counter()
    if not runner.run(maker.flow(state, action, None)):
        return None
    after = Campaign(store, state.campaign).state()
    if after is None or after.round != state.round + 1:
        found = "none" if after is None else after.round
        raise RuntimeError(f"{action.kind} of round {state.round} committed no state (last stored round: {found})")
    emit(Progress("round", message=f"{_DONE[action.kind]} took {time.perf_counter() - started:.1f} s"))
    return after
