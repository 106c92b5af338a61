"""A campaign's folder on one machine: store, artifacts, work in progress, summary, lock."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from jobflow import JobStore

from idealflow.config_text import dump_yaml, load_yaml, write_private
from idealflow.errors import CampaignError, InputError
from idealflow.provenance import INDEXED_FIELDS
from idealflow.schemas import Artifact
from idealflow.storage import ArtifactStore, SQLiteStore

if TYPE_CHECKING:
    from idealflow.workflow.campaign.ideal import IdealMaker

__all__ = ["CampaignDirectory"]


class CampaignDirectory:
    """Paths and stores of the campaign in one folder.

    Parameters
    ----------
    path
        The ``--out`` folder of ``idealflow run``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()

    @property
    def config_path(self) -> Path:
        """The config the campaign was last run with."""
        return self.path / "config.yaml"

    @property
    def artifacts(self) -> str:
        """Root of the artifact store."""
        return str(self.path / "artifacts")

    @property
    def work(self) -> str:
        """Files in progress."""
        return str(self.path / "work")

    @property
    def summary_path(self) -> Path:
        """The campaign's summary."""
        return self.path / "summary.json"

    @property
    def report_path(self) -> Path:
        """The report page."""
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        """Folder of the report's figures."""
        return self.path / "figures"

    @property
    def jobs(self) -> Path:
        """Folder in which jobs run; engines write their files below `work`, so nothing is expected here."""
        return self.path / "work"

    def exists(self) -> bool:
        """Whether a campaign was started here."""
        try:
            return self.config_path.is_file() and (self.path / "store.sqlite").is_file()
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return False  # no file can have this name

    def require(self) -> None:
        """Refuse a folder that holds no campaign.

        Raises
        ------
        InputError
            Naming the folder and how to start one.
        """
        if not self.exists():
            raise InputError(
                f"{self.path} holds no campaign; start one with `idealflow run CONFIG.yaml --out {self.path}`"
            )

    def campaign_name(self) -> str:
        """Name of the campaign, from its stored config."""
        self.require()
        return str(load_yaml(self.config_path.read_text())["campaign"])

    def job_store(self) -> JobStore:
        """The embedded job store, connected and indexed."""
        self.path.mkdir(parents=True, exist_ok=True)
        store = JobStore(SQLiteStore(str(self.path / "store.sqlite"), index_fields=INDEXED_FIELDS))
        store.connect()
        return store

    def placed(self, maker: IdealMaker) -> IdealMaker:
        """The maker with its artifacts and work in this folder, where its config names no other place."""
        return replace(maker, artifacts=maker.artifacts or self.artifacts, work=maker.work or self.work)

    def check_name(self, campaign: str) -> None:
        """Refuse to run a campaign in another one's folder.

        Raises
        ------
        InputError
            If the path is no folder and cannot be made one, or the folder holds a campaign of another name.
        """
        self._check_path()
        if self.exists() and self.campaign_name() != campaign:
            raise InputError(
                f"{self.path} holds the campaign {self.campaign_name()!r}, the config names {campaign!r}; choose another --out"
            )

    def _check_path(self) -> None:
        """Refuse a path that is no folder and can never be one, before anything is written."""
        try:
            if self.path.is_symlink() and not self.path.exists():
                raise InputError(
                    f"{self.path} is a link to {self.path.readlink()}, which does not exist; mend the link"
                )
            if self.path.exists() and not self.path.is_dir():
                raise InputError(f"{self.path} is a file, --out must be a folder; choose another --out")
        except OSError as error:
            raise InputError(f"{self.path} cannot be a folder: {error.strerror}; choose another --out") from error

    def make(self) -> None:
        """Make the folder.

        Raises
        ------
        InputError
            If that is impossible there.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path} cannot be made a folder: {error.strerror}; choose another --out") from error

    def write_config(self, settings: dict[str, Any]) -> None:
        """Keep the config beside the results, readable by its owner alone, and make the folders."""
        self.jobs.mkdir(parents=True, exist_ok=True)
        write_private(self.config_path, dump_yaml({"campaign": "ideal", **settings}))

    def fetch(self, artifact: Artifact) -> Path:
        """Local, verified path of an artifact of this campaign."""
        return ArtifactStore(self.artifacts).get(artifact)

    def with_pause(self, summary: dict[str, Any]) -> dict[str, Any]:
        """The summary, ``paused`` where it says running but no process holds the campaign."""
        if summary.get("status") != "running":
            return summary
        try:
            with self.locked():
                return summary | {"status": "paused", "reason": "no process is running it; `idealflow run` goes on"}
        except CampaignError:
            return summary

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the campaign for this process; the lock goes with the process, however it ends.

        Raises
        ------
        CampaignError
            If another process holds it.
        """
        self.make()
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise CampaignError(
                f"another process is running the campaign in {self.path}; wait for it, or stop it first"
            ) from error
        try:
            yield
        finally:
            lock.release()
