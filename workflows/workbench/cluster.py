"""A cluster on one machine: a document server, a launchpad, a job store, and workers that are real processes.

The server is mongo-java-server with a file behind it, standing in for MongoDB, unless ``MONGODB_URI`` names a real one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pymongo
import yaml
from filelock import FileLock
from fireworks import LaunchPad
from jobflow import JobStore
from maggma.stores import MongoStore

from idealflow import Campaign

HERE = Path(__file__).resolve().parent
SERVER = HERE / "server"
PATIENCE_S = 900  # for what comes, however busy the machine is
JARS = SERVER / "target" / "lib"


def missing_tools() -> str | None:
    """What this machine lacks to run a server, in words; None if nothing."""
    if "MONGODB_URI" in os.environ:
        return None
    lacking = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    return (
        f"no {' and no '.join(lacking)} on this machine (Java 17 and Maven are needed), and no MONGODB_URI"
        if lacking
        else None
    )


def fetch_jars() -> Path:
    """Fetch the server's jars once."""
    with FileLock(SERVER / ".jars.lock"):
        if not any(JARS.glob("mongo-java-server-h2-*.jar")):
            command = ["mvn", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
            subprocess.run(command, cwd=SERVER, check=True, timeout=PATIENCE_S)
    return JARS


class DocumentServer:
    """A server process with a file of its own.

    Parameters
    ----------
    folder
        Where its file and log go.
    mode
        "lazy" writes once a second, between commands, so that a killed server forgets its last second; "stock" is
        mongo-java-server's own main, which writes as often in their midst, so that a kill damages indexes as well;
        "memory" writes nothing and is quicker to scan; "" writes before a command is answered.
    """

    def __init__(self, folder: Path, mode: Literal["", "lazy", "stock", "memory"] = "") -> None:
        self.folder, self.port = folder, 0
        self.mode = [mode] if mode else []
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where clients find it."""
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, or start again on the same port and file."""
        log = self.folder / f"server-{uuid.uuid4().hex[:6]}.log"
        heap = "-Xmx3g" if self.mode == ["memory"] else "-Xmx512m"  # a thousand rounds fill half a gigabyte
        command = ["java", heap, "-cp", f"{fetch_jars()}/*", str(SERVER / "DocumentServer.java")]
        command += [str(self.folder / "documents.mv"), str(self.port), *self.mode]
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        end = time.monotonic() + PATIENCE_S
        while "listening on port" not in log.read_text():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start: {log.read_text()}")
            time.sleep(0.05)
        self.port = int(log.read_text().rpartition("listening on port")[2].split()[0])

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_server(folder: Path, mode: Literal["", "lazy", "stock", "memory"] = "") -> Iterator[str]:
    """Uri of ``MONGODB_URI``, or of a server that runs while the context is open."""
    if "MONGODB_URI" in os.environ:
        yield os.environ["MONGODB_URI"].rstrip("/")
        return
    server = DocumentServer(folder, mode)
    server.start()
    try:
        yield server.uri
    finally:
        server.kill()


class Cluster:
    """Configuration, databases and workers of one campaign's cluster.

    Parameters
    ----------
    folder
        Where its files go; shared by all workers.
    uri
        The server.
    python_path
        Folders that workers can import from.
    lock_expires_s
        After how many seconds a worker takes the lock of a workflow that another holds. A killed worker leaves its lock, so where
        workers are killed this is how long others wait; where none is, no busy machine may make one that lives lose its lock.
    """

    def __init__(self, folder: Path, uri: str, python_path: tuple[Path, ...] = (), lock_expires_s: int = 300) -> None:
        self.folder, self.uri = folder, uri
        self.database = f"ideal_{uuid.uuid4().hex[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        launchpad = {"host": uri, "name": self.database, "uri_mode": True, "strm_lvl": "ERROR"}
        self.write("my_launchpad.yaml", launchpad)
        settings = {"LAUNCHPAD_LOC": str(folder / "my_launchpad.yaml"), "RAPIDFIRE_SLEEP_SECS": 0.1}
        self.write(
            "FW_config.yaml", settings | {"WFLOCK_EXPIRATION_SECS": lock_expires_s, "WFLOCK_EXPIRATION_KILL": True}
        )
        docs = {"type": "MongoStore", "host": uri, "database": self.database, "collection_name": "outputs"}
        self.write("jobflow.yaml", {"JOB_STORE": {"docs_store": docs}})
        path = [*(str(each) for each in python_path), os.environ.get("PYTHONPATH", "")]
        self.environment = os.environ | {
            "FW_CONFIG_FILE": str(folder / "FW_config.yaml"),
            "JOBFLOW_CONFIG_FILE": str(folder / "jobflow.yaml"),
            "IDEALFLOW_ARTIFACTS": str(folder / "artifacts"),
            "IDEALFLOW_WORK": str(folder / "work"),
            "PYTHONPATH": os.pathsep.join(part for part in path if part),
            "PYTHONWARNINGS": "ignore",
        }
        self.workers: list[Worker] = []
        self._opened: list[Any] = []
        self.lpad("reset", "--password", time.strftime("%Y-%m-%d"))

    def write(self, name: str, data: Any) -> Path:
        """Write a YAML file into the folder."""
        path = self.folder / name
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    @property
    def launchpad_file(self) -> Path:
        """The launchpad's file."""
        return self.folder / "my_launchpad.yaml"

    def launchpad(self) -> LaunchPad:
        """A client of the launchpad."""
        launchpad = LaunchPad.from_file(str(self.launchpad_file))
        self._opened.append(launchpad.connection)
        return launchpad

    def job_store(self) -> JobStore:
        """A client of the job store."""
        store = JobStore(MongoStore(self.database, "outputs", host=self.uri))
        store.connect()
        self._opened.append(store)
        return store

    def campaign(self, name: str) -> Campaign:
        """A campaign's documents."""
        return Campaign(self.job_store(), name)

    def end(self) -> None:
        """Stop all workers and close all connections."""
        for worker in self.workers:
            worker.kill()
        for client in self._opened:
            client.close()

    def command(self, *parts: str) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment in the folder."""
        program = [str(Path(sys.executable).parent / parts[0]), *parts[1:]]
        return subprocess.run(
            program,
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    def lpad(self, *parts: str) -> str:
        """Run ``lpad``; its output."""
        done = self.command("lpad", *parts)
        if done.returncode:
            raise RuntimeError(f"lpad {' '.join(parts)}: {done.stderr}")
        return done.stdout

    def worker(self, category: str | None, *options: str, program: tuple[str, ...] | None = None) -> Worker:
        """Start a worker that takes jobs of one category (None: of any), ``rlaunch ... rapidfire`` unless told otherwise."""
        name = category or "any"
        file = self.write(f"{name}.yaml", {"name": name, "category": category or "", "query": "{}"})
        rlaunch = (sys.executable, str(Path(sys.executable).parent / "rlaunch"))
        run = self.folder / f"run-{name}-{uuid.uuid4().hex[:6]}"
        run.mkdir()
        command = [*(program or rlaunch), "-w", str(file), "rapidfire", *options]
        self.workers.append(Worker(command, run, self.environment))
        return self.workers[-1]


class Worker:
    """A worker process in a folder of its own."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / "worker.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait(self, timeout: float) -> int:
        """Its exit status; negative: the signal that ended it."""
        return self.process.wait(timeout)

    def kill(self) -> None:
        """End it and what it started, at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def wait_for(condition: Any, timeout: float, every: float = 0.3) -> bool:
    """Whether ``condition()`` became true in time."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(every)
    return False


def drop(uri: str, database: str) -> None:
    """Remove a cluster's database."""
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(uri)
    client.drop_database(database)
    client.close()
