"""What every stage's job shares: its store, its lock, its earlier output if one was committed, its artifacts."""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numba
import torch
from jobflow import CURRENT_JOB, SETTINGS, Job, JobConfig, JobStore, OnMissing, Response, job
from maggma.stores import JSONStore, MemoryStore
from threadpoolctl import threadpool_limits

from idealflow.errors import CampaignError
from idealflow.schemas import Document, StageContext
from idealflow.settings import Settings
from idealflow.storage import ArtifactStore
from idealflow.workflow.jobs.decode import Body, Read, decoded, document_of
from idealflow.workflow.jobs.keys import stage_uuid
from idealflow.workflow.jobs.locks import hold

__all__ = [
    "Arguments",
    "artifact_store",
    "current_store",
    "current_uuid",
    "is_private",
    "named",
    "site_store",
    "stage",
    "stamp",
    "work_directory",
]

#: of a body, by name
Arguments = Mapping[str, Any]

_CONTEXT_KEYS = {name for name, field in StageContext.model_fields.items() if field.is_required()}

#: the stage that this process is at, and when it began
_running: ContextVar[tuple[StageContext | None, float]] = ContextVar("running", default=(None, 0.0))


def stage(
    output_schema: type[Document] | None = None,
    *,
    alone: Body | None = None,
    reuse: bool | Callable[[Any, Any, Arguments], bool] = True,
    then: Callable[[Any, Any, Arguments], Response] | None = None,
) -> Callable[[Body], Callable[..., Job]]:
    """Decorate a Maker's ``make``: a jobflow job that does what is not the stage's own, so that its body is decode, core, encode.

    Before the body: threads are pinned, the arguments get the form that their annotations name
    (:func:`~idealflow.workflow.jobs.decode.decoded`), the job is held for this process, and where the body gives a document and
    an earlier process has stored this job's, that is the output. The body takes :func:`stamp` into its document.

    Parameters
    ----------
    output_schema
        Document that the job's output is.
    alone
        Makes the body's arguments, from the context on, of what a user gives who runs the stage by itself: of a call without a
        StageContext (or its data) as its first argument or its ``context``.
    reuse
        Whether an earlier process's output is what is asked for now; a function decides by Maker, that output and the body's
        arguments by name.
    then
        Makes the job's response of the body's document or the earlier one: called with Maker, document and the body's arguments
        by name.

    Examples
    --------
    A stage that counts the atoms of a frame, with a document of its own:

    >>> from dataclasses import dataclass
    >>> from jobflow import Maker, run_locally
    >>> from idealflow.schemas import StageContext, StoredStructure
    >>> from idealflow.schemas.base import StageOutput
    >>> class CountDoc(StageOutput):
    ...     n_atoms: int
    >>> @dataclass
    ... class CountMaker(Maker):
    ...     name: str = "count"
    ...
    ...     @stage()
    ...     def make(self, context: StageContext, structure: StoredStructure):
    ...         return CountDoc(n_atoms=len(structure.numbers), **stamp())
    >>> context = StageContext(campaign="ours", round=3, seed=0, artifacts="artifacts", work="work")
    >>> cell = {"cell": [[4, 0, 0], [0, 4, 0], [0, 0, 4]], "pbc": [True, True, True]}
    >>> job = CountMaker().make(context, {"numbers": [29], "positions": [[0, 0, 0]]} | cell)
    >>> output = run_locally(job, log=False, ensure_success=True)[job.uuid][1].output
    >>> output.n_atoms, output.round
    (1, 3)
    """
    settings: dict[str, Any] = {"config": JobConfig(expose_store=True, pass_manager_config=False)}
    if output_schema is not None:
        settings["output_schema"] = output_schema

    def decorate(method: Body) -> Callable[..., Job]:
        @functools.wraps(method)
        def body(*args: Any, **kwargs: Any) -> Any:
            pin_threads()
            given = decoded(method, args, kwargs)
            maker, *values = given.arguments.values()
            context = next((value for value in values if isinstance(value, StageContext)), None)
            if context is not None and CURRENT_JOB.job is not None:
                hold(Path(context.work), CURRENT_JOB.job.uuid, _is_stored)
            begun = _running.set((context, time.perf_counter()))
            try:
                output = _stored_output(document_of(method)) if reuse else None
                if output is None or (callable(reuse) and not reuse(maker, output, given.arguments)):
                    output = method(*given.args, **given.kwargs)
            finally:
                _running.reset(begun)
            return output if then is None else then(maker, output, given.arguments)

        if method.__module__.startswith("idealflow."):
            body.__module__ = "idealflow"  # a stored job names its Maker, not the file the Maker lies in
        made: Callable[..., Job] = job(body, **settings)
        if alone is None:
            return made

        @functools.wraps(made)
        def make(maker: Any, *args: Any, **kwargs: Any) -> Job:
            if _is_context(args[0] if args else kwargs.get("context")):
                return made(maker, *args, **kwargs)
            return made(maker, *alone(maker, *args, **kwargs))

        make.original = body  # type: ignore[attr-defined]  # by which jobflow knows the body of a bound method
        return make

    return decorate


def _is_context(given: object) -> bool:
    """Whether a call's first argument is a campaign's context, as a document or as its plain data."""
    return isinstance(given, StageContext) or (isinstance(given, Mapping) and set(given) >= _CONTEXT_KEYS)


def stamp() -> dict[str, Any]:
    """What every stage's document says alike: ``campaign``, ``round``, and ``seconds`` since the stage began.

    Raises
    ------
    CampaignError
        Where no stage is under way, and in one that no StageContext was given to.

    Examples
    --------
    See :func:`stage`, whose example stamps a document.

    >>> stamp()
    Traceback (most recent call last):
    idealflow.errors.CampaignError: only a stage with a context, which names campaign and round, can stamp its document
    """
    context, started = _running.get()
    if context is None:
        raise CampaignError("only a stage with a context, which names campaign and round, can stamp its document")
    return {"campaign": context.campaign, "round": context.round, "seconds": time.perf_counter() - started}


@functools.cache
def _limited(threads: int) -> threadpool_limits:
    """The linear-algebra libraries' limit, set once per process and kept."""
    return threadpool_limits(limits=threads)


def pin_threads() -> None:
    """Give numba, torch and BLAS the site's number of threads: results are exact to the bit for a fixed number."""
    threads = Settings().threads
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    _limited(threads)


def named(new: Job, context: StageContext, stage_name: str, *parts: int, missing: OnMissing | None = None) -> Job:
    """Give a job its derived uuid, name, metadata and category of worker.

    ``missing`` lets it run although a parent failed.
    """
    suffix = "-".join(str(part) for part in parts)
    new.set_uuid(stage_uuid(context.campaign, context.round, stage_name, *parts))
    new.name = f"{stage_name} r{context.round}" + (f" {suffix}" if suffix else "")
    metadata = {"campaign": context.campaign, "round": context.round, "stage": stage_name}
    new.update_metadata(metadata, dynamic=False)  # jobs that it adds have their own
    if (category := context.categories.get(stage_name, context.categories.get("other"))) is not None:
        new.config.manager_config = {"_category": category}
    if missing is not None:
        new.config.on_missing_references = missing
    return new


def current_store() -> JobStore:
    """The job store this job runs with.

    jobflow-remote gives a job a file for its own output in place of a store; the campaign is then in the JOB_STORE of
    jobflow's settings on the worker.

    Raises
    ------
    CampaignError
        If the job body runs outside a job store, or with one that holds nothing but its own output; stages that look
        things up cannot do without one.
    """
    store = getattr(CURRENT_JOB, "store", None)
    if store is None:
        raise CampaignError("this stage needs a job store: run it with run_locally, rockets or `idealflow run`")
    if not type(store.docs_store).__module__.startswith("jobflow_remote"):
        return store
    common = SETTINGS.JOB_STORE
    if is_private(common):
        raise CampaignError(
            "under jobflow-remote the stages read the campaign from the JOB_STORE of jobflow's settings, here a "
            f"{type(common.docs_store).__name__}; let JOBFLOW_CONFIG_FILE on the workers name the project's store"
        )
    common.connect()
    return common


def site_store() -> JobStore:
    """The JOB_STORE of jobflow's settings, in which campaigns are looked for by name.

    Examples
    --------
    >>> type(site_store()).__name__
    'JobStore'
    """
    return SETTINGS.JOB_STORE


def is_private(store: JobStore) -> bool:
    """Whether a job store is one process's own; other stores derive from MemoryStore too, and can be shared."""
    return type(store.docs_store) in (MemoryStore, JSONStore)


def current_uuid() -> str:
    """Uuid of the running job."""
    return str(CURRENT_JOB.job.uuid)


def _stored_output(read: Read | None) -> Any:
    """The output this very job stored in an earlier process, or None.

    A job's uuid is derived from what it computes (:mod:`idealflow.workflow.jobs.keys`), so a stored output with the same
    uuid and index is the same piece of work.
    """
    current = CURRENT_JOB.job
    if read is None or current is None or getattr(CURRENT_JOB, "store", None) is None:
        return None
    found = current_store().query_one({"uuid": current.uuid, "index": current.index}, properties=["output"], load=True)
    return None if found is None or found.get("output") is None else read(found["output"])


def _is_stored() -> bool:
    """Whether another process has stored the running job's output."""
    current = CURRENT_JOB.job
    found = current_store().query_one({"uuid": current.uuid, "index": current.index}, properties=["uuid"])
    return found is not None


def artifact_store(context: StageContext) -> ArtifactStore:
    """The campaign's artifact store."""
    return ArtifactStore(context.artifacts)


def work_directory(context: StageContext, stage_name: str, *, fresh: bool = False) -> Path:
    """Local directory for the running job's files in progress; emptied first if ``fresh``."""
    path = Path(context.work) / f"{stage_name}-{current_uuid()}"
    if fresh and path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True, exist_ok=True)
    return path
