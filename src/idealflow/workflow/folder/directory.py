"""The folder in which `idealflow run` runs a campaign: store, artifacts, work in progress, config, lock."""

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
    """A dataclass of settings, two of which say where files go."""

    artifacts: str | None
    work: str | None


Settings = TypeVar("Settings", bound=_Placed)


class CampaignDirectory(CampaignFolder):
    """Paths and stores of the campaign in one folder, for the process that runs it.

    To look at a campaign without writing anything, use :class:`~idealflow.provenance.CampaignFolder`.

    Parameters
    ----------
    path
        The ``--out`` folder of ``idealflow run``.

    Examples
    --------
    >>> directory = CampaignDirectory("li")
    >>> directory.check_name("li-melt")  # there is no campaign of another name in it
    >>> with directory.locked():
    ...     store = directory.job_store()
    >>> directory.store_path.is_file(), store.count()
    (True, 0)
    """

    @property
    def work(self) -> str:
        """Folder of files in progress."""
        return str(self.path / "work")

    @property
    def jobs(self) -> Path:
        """Folder in which jobflow runs jobs; the stages keep their files in subfolders, so none are expected in it itself."""
        return self.path / "work"

    def job_store(self) -> JobStore:
        """The folder's own job store, an SQLite file, connected and indexed; the folder is made if need be."""
        self.path.mkdir(parents=True, exist_ok=True)
        store = JobStore(SQLiteStore(str(self.store_path), index_fields=INDEXED_FIELDS))
        store.connect()
        return store

    def placed(self, maker: Settings) -> Settings:
        """Return the settings with ``artifacts`` and ``work`` in this folder, unless they name other places."""
        places = {"artifacts": maker.artifacts or self.artifacts, "work": maker.work or self.work}
        return cast("Settings", replace(cast("Any", maker), **places))

    def check_name(self, campaign: str) -> None:
        """Refuse a folder that holds another campaign, or that can not be one.

        Raises
        ------
        InputError
            If the folder holds a campaign of another name, the path is a file, or it is a link to nothing.
        """
        self._check_path()
        if self.exists() and self.campaign_name() != campaign:
            raise InputError(
                f"{self.path} holds the campaign {self.campaign_name()!r}, the config names {campaign!r}; choose another --out"
            )

    def _check_path(self) -> None:
        """Refuse a file and a link to nothing, before anything is written."""
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
            If it can not be made, with the system's reason.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path} cannot be made a folder: {error.strerror}; choose another --out") from error

    def check_files(self) -> None:
        """Refuse a folder in which a run would replace files that idealflow did not write.

        Raises
        ------
        InputError
            Names the file. A ``config.yaml`` of the user's is allowed: it is kept (:meth:`write_config`).
        """
        if foreign := self.foreign():
            raise InputError(
                f"{foreign[0]} was not written by idealflow, and a run would replace it; move it away or choose another --out"
            )

    def write_config(self, settings: dict[str, Any]) -> Path:
        """Make the folders and write the config beside the results, readable by its owner alone.

        Returns
        -------
        Path
            The file: ``config.yaml``, or ``config.idealflow.yaml`` if the folder has a ``config.yaml`` that idealflow did not
            write or that was edited since.
        """
        self.jobs.mkdir(parents=True, exist_ok=True)
        path = self.config_path
        with replacing(path) as draft:
            draft.touch(mode=0o600)
            draft.write_text(signed(dump_yaml({"campaign": "ideal", **settings})), encoding="utf-8")
        return path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the campaign for this process; the lock is released when the process ends, however it ends.

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
