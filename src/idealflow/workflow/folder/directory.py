"""A campaign's folder on one machine: store, artifacts, work in progress, summary, lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from filelock import FileLock, Timeout
from jobflow import JobStore

from idealflow.config_text import dump_yaml
from idealflow.errors import CampaignError, InputError
from idealflow.provenance import INDEXED_FIELDS, CampaignFolder, signed
from idealflow.storage import SQLiteStore, replacing

__all__ = ["CampaignDirectory"]


class _Placed(Protocol):
    """A dataclass of settings that say where files lie."""

    artifacts: str | None
    work: str | None


Settings = TypeVar("Settings", bound=_Placed)


class CampaignDirectory(CampaignFolder):
    """Paths and stores of the campaign in one folder, for who runs it.

    Parameters
    ----------
    path
        The ``--out`` folder of ``idealflow run``.
    """

    @property
    def work(self) -> str:
        """Files in progress."""
        return str(self.path / "work")

    @property
    def jobs(self) -> Path:
        """Folder in which jobs run; engines write their files below `work`, so nothing is expected here."""
        return self.path / "work"

    def job_store(self) -> JobStore:
        """The embedded job store, connected and indexed."""
        self.path.mkdir(parents=True, exist_ok=True)
        store = JobStore(SQLiteStore(str(self.store_path), index_fields=INDEXED_FIELDS))
        store.connect()
        return store

    def placed(self, maker: Settings) -> Settings:
        """The campaign's settings with its artifacts and work in this folder, where its config names no other place."""
        places = {"artifacts": maker.artifacts or self.artifacts, "work": maker.work or self.work}
        return cast("Settings", replace(cast("Any", maker), **places))

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

    def check_files(self) -> None:
        """Refuse a folder in which a run would replace what idealflow did not write.

        Raises
        ------
        InputError
            Naming the file; a ``config.yaml`` is no reason, it is kept (:meth:`write_config`).
        """
        if foreign := self.foreign():
            raise InputError(
                f"{foreign[0]} was not written by idealflow, and a run would replace it; move it away or choose another --out"
            )

    def write_config(self, settings: dict[str, Any]) -> Path:
        """Keep the config beside the results, readable by its owner alone, and make the folders.

        Returns
        -------
        Path
            Where: ``config.yaml``, or ``config.idealflow.yaml`` where somebody else's stands (also one edited since).
        """
        self.jobs.mkdir(parents=True, exist_ok=True)
        path = self.config_path
        with replacing(path) as draft:
            draft.touch(mode=0o600)
            draft.write_text(signed(dump_yaml({"campaign": "ideal", **settings})), encoding="utf-8")
        return path

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
