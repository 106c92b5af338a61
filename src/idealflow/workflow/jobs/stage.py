"""What the jobs of all stages share: lock, an output that an earlier process stored, artifacts, names."""

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
from jobflow import CURRENT_JOB, Job, JobConfig, OnMissing, Response, job
from threadpoolctl import threadpool_limits

from idealflow.errors import CampaignError
from idealflow.schemas import Document, StageContext
from idealflow.settings import Settings
from idealflow.storage import ArtifactStore
from idealflow.workflow.jobs.decode import Body, Read, decoded, document_of
from idealflow.workflow.jobs.job_store import current_store
from idealflow.workflow.jobs.keys import stage_uuid
from idealflow.workflow.jobs.locks import hold

__all__ = [
    "Arguments",
    "artifact_store",
    "current_uuid",
    "named",
    "stage",
    "stamp",
    "work_directory",
]

#: arguments of a body, by name
Arguments = Mapping[str, Any]

_CONTEXT_KEYS = {name for name, field in StageContext.model_fields.items() if field.is_required()}

#: context of the stage that is running, and the time when it began
_running: ContextVar[tuple[StageContext | None, float]] = ContextVar("running", default=(None, 0.0))


def stage(
    output_schema: type[Document] | None = None,
    *,
    alone: Body | None = None,
    reuse: bool | Callable[[Any, Any, Arguments], bool] = True,
    then: Callable[[Any, Any, Arguments], Response] | None = None,
) -> Callable[[Body], Callable[..., Job]]:
    """Make a Maker's ``make`` a jobflow job that does what all stages have in common.

    Before the body runs, threads are pinned, the arguments are turned into the types of their annotations
    (:func:`~idealflow.workflow.jobs.decode.decoded`), and the job is locked for this process. If the body returns a document and
    an earlier process has stored this very job's, that document is the output and the body does not run. So the body has only to
    decode, call the core, and encode; its document takes ``**stamp()`` (:func:`stamp`).

    Parameters
    ----------
    output_schema
        Type of the job's output.
    alone
        Function for users who run the stage by itself, used if a call has no StageContext (or its plain data) as its first
        argument or its ``context``: it turns the user's arguments into those of the body, from the context on.
    reuse
        Whether to take an output that an earlier process stored. A function decides from the Maker, that output, and the body's
        arguments by name.
    then
        Function that makes the job's response from the Maker, the document (new or stored), and the body's arguments by name.

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
            body.__module__ = "idealflow"  # so that a stored job names its Maker, not the Maker's file
        made: Callable[..., Job] = job(body, **settings)
        if alone is None:
            return made

        @functools.wraps(made)
        def make(maker: Any, *args: Any, **kwargs: Any) -> Job:
            if _is_context(args[0] if args else kwargs.get("context")):
                return made(maker, *args, **kwargs)
            return made(maker, *alone(maker, *args, **kwargs))

        make.original = body  # type: ignore[attr-defined]  # jobflow looks there for the body of a bound method
        return make

    return decorate


def _is_context(given: object) -> bool:
    """Whether a call's first argument is a campaign's context, as a document or as its plain data."""
    return isinstance(given, StageContext) or (isinstance(given, Mapping) and set(given) >= _CONTEXT_KEYS)


def stamp() -> dict[str, Any]:
    """Return the fields that the documents of all stages have: ``campaign``, ``round``, and ``seconds`` since the stage began.

    Raises
    ------
    CampaignError
        If no stage is running, or the running one was given no StageContext.

    Examples
    --------
    The example of :func:`stage` uses it within a stage; elsewhere it is refused:

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
    """Limit the threads of the linear algebra libraries, once per process."""
    return threadpool_limits(limits=threads)


def pin_threads() -> None:
    """Let numba, torch and BLAS use the site's number of threads; for a fixed number results are the same to the last bit."""
    threads = Settings().threads
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    _limited(threads)


def named(new: Job, context: StageContext, stage_name: str, *parts: int, missing: OnMissing | None = None) -> Job:
    """Give a job its derived uuid, its name, metadata by which it is found, and the category of its workers.

    Parameters
    ----------
    new
        The job, which is changed and returned.
    context, stage_name, parts
        What the uuid is derived from (:func:`~idealflow.workflow.jobs.keys.stage_uuid`); parts are walker, step, ...
    missing
        What jobflow does if a job that it depends on failed; ``OnMissing.NONE`` lets it run with None in place of the output.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, LabelMaker
    >>> context = StageContext(campaign="li", round=3, seed=0, artifacts="artifacts", work="work", categories={"label": "cpu"})
    >>> job = named(LabelMaker(AseLabeller("ase.calculators.emt.EMT")).make(bulk("Cu")), context, "label", 0, 40)
    >>> job.name, job.config.manager_config, job.uuid == stage_uuid("li", 3, "label", 0, 40)
    ('label r3 0-40', {'_category': 'cpu'}, True)
    """
    suffix = "-".join(str(part) for part in parts)
    new.set_uuid(stage_uuid(context.campaign, context.round, stage_name, *parts))
    new.name = f"{stage_name} r{context.round}" + (f" {suffix}" if suffix else "")
    metadata = {"campaign": context.campaign, "round": context.round, "stage": stage_name}
    new.update_metadata(metadata, dynamic=False)  # jobs that it adds get their own
    if (category := context.categories.get(stage_name, context.categories.get("other"))) is not None:
        new.config.manager_config = {"_category": category}
    if missing is not None:
        new.config.on_missing_references = missing
    return new


def current_uuid() -> str:
    """Return the uuid of the running job.

    Examples
    --------
    >>> from jobflow import run_locally
    >>> @job
    ... def who():
    ...     return current_uuid()
    >>> asking = who()
    >>> run_locally(asking, log=False)[asking.uuid][1].output == asking.uuid
    True
    """
    return str(CURRENT_JOB.job.uuid)


def _stored_output(read: Read | None) -> Any:
    """Return the output that this very job stored in an earlier process, or None.

    A job's uuid is derived from what it computes (:mod:`idealflow.workflow.jobs.keys`), so a stored output with the same
    uuid and index is the result of the same work.
    """
    current = CURRENT_JOB.job
    if read is None or current is None or getattr(CURRENT_JOB, "store", None) is None:
        return None
    found = current_store().query_one({"uuid": current.uuid, "index": current.index}, properties=["output"], load=True)
    return None if found is None or found.get("output") is None else read(found["output"])


def _is_stored() -> bool:
    """Tell whether another process has stored the running job's output."""
    current = CURRENT_JOB.job
    found = current_store().query_one({"uuid": current.uuid, "index": current.index}, properties=["uuid"])
    return found is not None


def artifact_store(context: StageContext) -> ArtifactStore:
    """Return the campaign's artifact store.

    Examples
    --------
    >>> context = StageContext(campaign="li", round=3, seed=0, artifacts="artifacts", work="work")
    >>> file = artifact_store(context).put_bytes(b"large", suffix=".npz")
    >>> artifact_store(context).get(file).read_bytes()
    b'large'
    """
    return ArtifactStore(context.artifacts)


def work_directory(context: StageContext, stage_name: str, *, fresh: bool = False) -> Path:
    """Make the local folder for the running job's files in progress, and empty it first if ``fresh``.

    A job that is run again after a kill finds what the killed one left, such as the checkpoint of a segment.

    Examples
    --------
    >>> from jobflow import run_locally
    >>> @job
    ... def where(context):
    ...     return work_directory(context, "segment").name
    >>> asking = where(StageContext(campaign="li", round=3, seed=0, artifacts="artifacts", work="work"))
    >>> run_locally(asking, log=False)[asking.uuid][1].output == f"segment-{asking.uuid}"
    True
    """
    path = Path(context.work) / f"{stage_name}-{current_uuid()}"
    if fresh and path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True, exist_ok=True)
    return path
