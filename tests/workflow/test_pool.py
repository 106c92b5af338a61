"""Worker processes: what they return, and what happens when they, their engines or their parent end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobflow import Flow, JobStore

from idealflow.errors import CampaignError, InputError
from idealflow.workflow import run_campaign
from idealflow.workflow.drivers.machine import Share
from idealflow.workflow.drivers.pool import Pool
from idealflow.workflow.drivers.run_flow import FlowRunner
from idealflow.workflow.jobs.progress import Progress, listening
from support import pool_jobs, tiny

WHOLE = Share(4, 8.0)

PARENT = """
import sys
from pathlib import Path
from jobflow import Flow
from idealflow.workflow.drivers.machine import Share
from idealflow.workflow.drivers.pool import Pool
from idealflow.workflow.drivers.run_flow import FlowRunner
from support import pool_jobs, tiny

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    store = tiny.sqlite(folder)
    with Pool(1, Share(1), store, str(folder)) as pool:
        FlowRunner(store, str(folder), pool).run(Flow([pool_jobs.hang(str(folder / "sign"))]))
"""


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return tiny.sqlite(tmp_path)


@pytest.fixture
def pool(store: JobStore, tmp_path: Path) -> Iterator[Pool]:
    with Pool(2, WHOLE, store, str(tmp_path)) as pool:
        yield pool


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "sign")
    return tmp_path / "sign"


def test_jobs_return_what_they_store_and_the_flows_that_they_add(pool: Pool, store: JobStore, tmp_path: Path) -> None:
    first = pool_jobs.adds(1)
    after, mpi = pool_jobs.number(first.output), pool_jobs.mpi(3)
    assert FlowRunner(store, str(tmp_path), pool).run(Flow([first, after, mpi]))
    assert store.get_output(after.uuid) == 1
    assert store.get_output(mpi.uuid) == ["rank 0", "rank 1", "rank 2"]
    assert sorted(entry["output"] for entry in store.query({"name": "number"})) == [1, 2, 3]


def test_a_worker_that_dies_is_replaced_and_its_job_done_by_another(
    pool: Pool, store: JobStore, tmp_path: Path
) -> None:
    doomed, other = pool_jobs.die(2, str(tmp_path)), pool_jobs.number()
    assert FlowRunner(store, str(tmp_path), pool).run(Flow([doomed, other]))
    assert (store.get_output(doomed.uuid), store.get_output(other.uuid)) == (2, 1)


def test_a_job_of_which_every_worker_dies_ends_the_flow(pool: Pool, store: JobStore, tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"5 workers died at the job die, the last by SIGKILL; if memory is short"):
        FlowRunner(store, str(tmp_path), pool).run(Flow([pool_jobs.die(99, str(tmp_path))]))


def test_errors_of_jobs_are_raised_as_they_are(pool: Pool, store: JobStore, tmp_path: Path) -> None:
    runner = FlowRunner(store, str(tmp_path), pool)
    with pytest.raises(OSError, match="No space left") as raised:
        runner.run(Flow([pool_jobs.fail("disk")]))
    assert (raised.value.errno, raised.value.filename) == (28, "store.sqlite")
    with pytest.raises(RuntimeError, match="UnreadableError: spoilt"):
        runner.run(Flow([pool_jobs.fail("unreadable")]))


def test_an_interrupt_ends_workers_and_their_engines(store: JobStore, sign: Path, tmp_path: Path) -> None:
    def interrupt(event: Progress) -> None:
        if event.message == "begun":  # not what the runner says of the jobs that are under way
            raise KeyboardInterrupt

    reader = os.open(sign, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(KeyboardInterrupt), listening(interrupt), Pool(2, WHOLE, store, str(tmp_path)) as pool:
        FlowRunner(store, str(tmp_path), pool).run(Flow([pool_jobs.hang(str(sign))]))
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b"!"
    assert os.read(reader, 1) == b""  # the end of the pipe: nobody lives that could write to it
    os.close(reader)


def test_workers_and_their_engines_end_when_their_parent_is_killed(sign: Path, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    here = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment) as parent:
        with sign.open("rb", buffering=0) as reader:
            assert reader.read(1) == b"!"
            parent.send_signal(signal.SIGKILL)
            assert reader.read(1) == b""
        assert parent.wait() == -signal.SIGKILL


def test_jobs_start_within_cores_and_memory_and_one_that_is_too_large_alone(store: JobStore, tmp_path: Path) -> None:
    with Pool(3, Share(4, 8.0), store, str(tmp_path)) as pool:
        assert pool.has_room(Share(99, 99.0))
        pool.start(pool_jobs.number(), Share(2, 5.0))
        assert pool.has_room(Share(2, 3.0))
        assert not pool.has_room(Share(3, 0.0))
        assert not pool.has_room(Share(1, 4.0))
        assert len(list(pool.ended())) == 1
        assert pool.has_room(Share(99, 99.0))


def test_workers_that_could_do_nothing_are_refused(tmp_path: Path) -> None:
    from maggma.stores import MemoryStore

    maker = tiny.maker(tmp_path)
    with pytest.raises(InputError, match="workers must be at least 1, got -1"):
        run_campaign(maker, tiny.frame(), JobStore(MemoryStore()), workers=-1)
    with pytest.raises(InputError, match="workers = 2 need a job store that several processes see, got a MemoryStore"):
        run_campaign(maker, tiny.frame(), JobStore(MemoryStore()), workers=2)
