"""A campaign's folder on one machine: store, artifacts, work in progress, summary, lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout
from jobflow import JobStore

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
        return self.config_path.is_file() and (self.path / "store.sqlite").is_file()

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
        return str(yaml.safe_load(self.config_path.read_text())["campaign"])

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
            If the folder holds a campaign of another name, or cannot be written.
        """
        if self.exists() and self.campaign_name() != campaign:
            raise InputError(
                f"{self.path} holds the campaign {self.campaign_name()!r}, the config names {campaign!r}; choose another --out"
            )

    def write_config(self, settings: dict[str, Any]) -> None:
        """Keep the config beside the results, and make the folders."""
        self.jobs.mkdir(parents=True, exist_ok=True)
        temporary = self.config_path.with_suffix(".tmp")
        temporary.write_text(yaml.safe_dump({"campaign": "ideal", **settings}, sort_keys=False))
        temporary.replace(self.config_path)

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
        self.path.mkdir(parents=True, exist_ok=True)
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
