"""The job store that a running job, or this site, reads from and writes to."""

from __future__ import annotations

from jobflow import CURRENT_JOB, SETTINGS, JobStore
from maggma.stores import JSONStore, MemoryStore

from idealflow.errors import CampaignError

__all__ = ["current_store", "is_private", "site_store"]


def current_store() -> JobStore:
    """Return the job store that the running job reads from and writes to.

    jobflow-remote gives a job a file for its own output in place of a store; the campaign is then in the JOB_STORE of
    jobflow's settings on the worker.

    Raises
    ------
    CampaignError
        If no job is running, or its store is one that no other process can see.

    Examples
    --------
    >>> from jobflow import JobConfig, job, run_locally
    >>> @job(config=JobConfig(expose_store=True))
    ... def count():
    ...     return current_store().count()
    >>> counting = count()
    >>> run_locally(counting, store=JobStore(MemoryStore()), log=False)[counting.uuid][1].output
    0
    >>> current_store()
    Traceback (most recent call last):
    idealflow.errors.CampaignError: this stage needs a job store: run it with run_locally, rockets or `idealflow run`
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
    """Return the JOB_STORE of jobflow's settings, in which campaigns are looked up by name.

    Examples
    --------
    >>> type(site_store()).__name__
    'JobStore'
    """
    return SETTINGS.JOB_STORE


def is_private(store: JobStore) -> bool:
    """Tell whether a job store belongs to one process: one in memory, or a JSON file.

    The class counts exactly, since stores that can be shared are derived from MemoryStore, too.

    Examples
    --------
    >>> from idealflow.storage import SQLiteStore
    >>> is_private(JobStore(MemoryStore())), is_private(JobStore(SQLiteStore("store.sqlite")))
    (True, False)
    """
    return type(store.docs_store) in (MemoryStore, JSONStore)
