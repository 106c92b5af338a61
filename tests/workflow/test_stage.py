"""What stages share: one process at a job, and the store they look things up in."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jobflow
import pytest
from jobflow import CURRENT_JOB, JobStore
from maggma.stores import JSONStore, MemoryStore

from idealflow.errors import CampaignError
from idealflow.workflow.jobs.job_store import current_store
from idealflow.workflow.jobs.locks import hold, let_go
from support import tiny

HOLDER = """
import sys, time
from pathlib import Path
from idealflow.workflow.jobs.locks import hold
hold(Path(sys.argv[1]), "job", lambda: False)
print("held", flush=True)
time.sleep(3600)
"""


def test_a_job_is_held_by_one_process_and_let_go_when_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(1.0)
        hold(tmp_path, "another job", lambda: False)  # no waiting
        assert waiting.poll() is None
        other.kill()
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "held\n"
        waiting.kill()
        waiting.communicate()
    hold(tmp_path, "job", lambda: False)
    let_go()
    assert not list(tmp_path.iterdir())


def test_who_waits_goes_on_when_the_output_is_stored_though_its_holder_is_idle(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        asked = iter([False, True])
        hold(tmp_path, "job", lambda: next(asked))
        assert other.poll() is None
        assert next(asked, None) is None
        other.kill()
    let_go()


def test_no_locks_on_this_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no flock here")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(CampaignError, match=r"cannot be locked .* set `work`"):
        hold(tmp_path, "job", lambda: False)


class FileOfOneJob(JSONStore):
    """Stands for what jobflow-remote gives a job in place of a store."""


FileOfOneJob.__module__ = "jobflow_remote.remote.data"


def test_under_jobflow_remote_the_campaign_is_in_the_common_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CURRENT_JOB, "store", JobStore(FileOfOneJob(str(tmp_path / "remote.json"), read_only=False)))
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", JobStore(MemoryStore()))
    with pytest.raises(CampaignError, match="here a MemoryStore; let JOBFLOW_CONFIG_FILE"):
        current_store()
    common = tiny.sqlite(tmp_path)
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", common)
    assert current_store() is common


def test_without_a_store_a_stage_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CURRENT_JOB, "store", None)
    with pytest.raises(CampaignError, match="needs a job store"):
        current_store()


def test_every_class_of_ours_is_found_by_the_name_that_stored_documents_give_it() -> None:
    import idealflow
    from idealflow.workflow.campaign import ideal  # noqa: F401  # imports all stages
    from idealflow.workflow.jobs.identity import StableName
    from idealflow.workflow.labellers import vasp  # noqa: F401  # and its classes

    def derived(kind: type) -> set[type]:
        return {kind}.union(*(derived(each) for each in kind.__subclasses__()))

    ours = [kind for kind in derived(StableName) - {StableName} if kind.__module__.startswith("idealflow.")]
    stored = [kind for kind in ours if not kind.__name__.endswith("Settings")]  # which others are derived of
    assert len(stored) > 10
    # by name: a test that imports the package anew makes another class of it
    found = {name: getattr(idealflow, name, None) for name in (kind.__name__ for kind in stored)}
    assert [name for name, kind in found.items() if kind is None or kind.__name__ != name] == []
