"""A campaign's folder, only looked at: where its files lie and which of them are the campaign's own. Nothing is written."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from idealflow.errors import InputError
from idealflow.provenance.folder_documents import FolderDocuments
from idealflow.schemas import Artifact, CampaignState
from idealflow.storage import ArtifactStore

__all__ = ["CampaignFolder", "signed"]

_SIGNATURE = "# Kept by idealflow: what the campaign in this folder was last run with; SHA-256 of the rest: "
_PAGE_START = 400  # bytes within which a report page says what it is


def signed(text: str) -> str:
    """Put a line with a hash before a config, by which idealflow knows it as its own until somebody edits it.

    Examples
    --------
    >>> signed("campaign: tiny").splitlines()[1]
    'campaign: tiny'
    """
    return f"{_SIGNATURE}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


class CampaignFolder:
    """Paths of the campaign in one folder, and its documents.

    Parameters
    ----------
    path
        The ``--out`` folder of ``idealflow run``.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> folder = CampaignFolder(sample_campaign().folder.path)
    >>> folder.exists(), folder.campaign_name(), folder.store_path.name
    (True, 'tiny', 'store.sqlite')
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        # without a store, whatever lies here was there before the campaign
        self._begun = self.store_path.is_file()

    @property
    def store_path(self) -> Path:
        """The SQLite file that holds the documents."""
        return self.path / "store.sqlite"

    @property
    def config_path(self) -> Path:
        """The config the campaign was last run with: ``config.yaml``, or ``config.idealflow.yaml`` beside a user's own."""
        usual, beside = self.path / "config.yaml", self.path / "config.idealflow.yaml"
        return usual if not beside.exists() and self._is_kept_config(usual) else beside

    @property
    def readable_config(self) -> Path:
        """The kept config, or ``config.yaml`` where none was kept."""
        return self.config_path if self.config_path.is_file() else self.path / "config.yaml"

    @property
    def artifacts(self) -> str:
        """The folder of artifacts, unless the config names another place."""
        return str(self.path / "artifacts")

    @property
    def summary_path(self) -> Path:
        """The campaign's summary."""
        return self.path / "summary.json"

    @property
    def log_path(self) -> Path:
        """The log: a line for each event."""
        return self.path / "log.txt"

    @property
    def report_path(self) -> Path:
        """The report page."""
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        """Folder of the report's figures."""
        return self.path / "figures"

    def exists(self) -> bool:
        """Whether a campaign was started here."""
        return self.store_path.is_file() and self.readable_config.is_file()

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
        """Name of the campaign, from its kept config; InputError if there is none."""
        self.require()
        path = self.readable_config
        try:
            return str(yaml.safe_load(path.read_text())["campaign"])
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is not the config of a campaign ({type(error).__name__}); run the campaign's own config again"
            ) from error

    def documents(self) -> FolderDocuments:
        """Return the documents, read-only and not yet opened."""
        self.require()
        return FolderDocuments(self.store_path)

    def with_pause(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Return the summary, with status ``paused`` where it says running but no process runs the campaign."""
        if summary.get("status") != "running" or self.held():
            return summary
        return summary | {"status": "paused", "reason": "no process is running it; `idealflow run` goes on"}

    def held(self) -> bool:
        """Whether a process runs the campaign; nothing is written to find out."""
        try:
            descriptor = os.open(self.path / ".lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def root(self, state: CampaignState | None) -> str:
        """Return the root of the campaign's artifact store.

        The state names it. Since the folder may have been moved, artifacts that lay inside are looked for inside first.
        """
        if state is None:
            return self.artifacts
        if "://" in state.artifacts:
            return state.artifacts
        parts = Path(state.artifacts).parts[1:]
        inside = [str(self.path.joinpath(*parts[first:])) for first in range(len(parts))]
        places = [self.artifacts, *reversed(inside), state.artifacts]
        needed = [state.walkers[0].md_state, *([state.learner.force_field] if state.learner else [])]
        return next((place for place in places if _holds(place, needed)), state.artifacts)

    def foreign(self) -> list[Path]:
        """List files that idealflow did not write, in the places of the campaign's summary, report and figures."""
        found = [
            path
            for path, ours in ((self.summary_path, _is_summary), (self.report_path, _is_report))
            if path.exists() and not (path.is_file() and ours(path))
        ]
        if (
            self.figures.exists()
            and not self._begun
            and not (self.report_path.is_file() and _is_report(self.report_path))
        ):
            found.append(self.figures)
        return found

    def check_report(self) -> None:
        """Refuse to replace a report page or figures that idealflow did not write; InputError naming them."""
        if foreign := [path for path in self.foreign() if path != self.summary_path]:
            raise InputError(
                f"{foreign[0]} was not written by idealflow; move it away, or write elsewhere with --to FILE.html"
            )

    def refuse_target(self, file: Path, artifacts: str, *, force: bool) -> None:
        """Refuse to write ``file`` where something of value may be lost.

        Parameters
        ----------
        file
            File that a user asks for.
        artifacts
            Root of the campaign's artifact store.
        force
            Whether an existing file may be replaced; the campaign's own never are.

        Raises
        ------
        InputError
            If it is a file of the campaign or lies among them, exists and ``force`` is not set, is a folder, or its folder
            does not exist.
        """
        if not file.absolute().parent.is_dir():
            raise InputError(f"the folder of {file} does not exist; make it first")
        if file.is_dir():
            raise InputError(f"{file} is a folder; name a file in it")
        if file.exists() and not file.is_file():
            raise InputError(f"{file} is no ordinary file; choose another name")
        self._refuse_own(file, artifacts)
        if file.exists() and not force:
            raise InputError(f"{file} exists and is kept; choose another name, or give --force to replace it")

    def refuse_folder(self, folder: Path, artifacts: str, *, ours: Callable[[Path], bool], force: bool) -> None:
        """Refuse to write a folder where something of value may be lost.

        Parameters
        ----------
        folder
            Folder that a user asks for. One that is empty may be there.
        artifacts
            Root of the campaign's artifact store.
        ours
            Whether a folder was written by an earlier export.
        force
            Whether a folder of an earlier export may be replaced; others never are.

        Raises
        ------
        InputError
            If it lies among the campaign's files, is a file, holds something that may not be replaced, or the folder above it
            does not exist.
        """
        if not folder.absolute().parent.is_dir():
            raise InputError(f"the folder of {folder} does not exist; make it first")
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise InputError(f"{folder} is no folder, and a folder is to be written; choose another name")
        self._refuse_own(folder, artifacts)
        if not folder.exists() or not any(folder.iterdir()):
            return
        if not ours(folder):
            raise InputError(f"{folder} holds files that no export wrote, and is kept; choose another name")
        if not force:
            raise InputError(f"{folder} exists and is kept; choose another name, or give --force to replace it")

    def _refuse_own(self, file: Path, artifacts: str) -> None:
        """Refuse what is the campaign's own or lies among its files; InputError."""
        place = file.resolve()
        folders = [self.path / "work", self.figures, *([] if "://" in artifacts else [Path(artifacts)])]
        inside = next((folder for folder in folders if folder.resolve() in (place, *place.parents)), None)
        if inside is not None:
            raise InputError(f"{file} lies in {inside}, which only the campaign writes to; choose another place")
        names = ("config.yaml", "config.idealflow.yaml", "summary.json", "report.html", ".lock")
        own = [self.path / name for name in names]
        own += [self.store_path.with_name(f"store.sqlite{end}") for end in ("", "-wal", "-shm")]
        if any(place == path.resolve() or (file.exists() and path.exists() and file.samefile(path)) for path in own):
            raise InputError(f"{file} is a file of the campaign itself and is never overwritten; choose another name")

    def _is_kept_config(self, path: Path) -> bool:
        """Whether a config is missing, or was written by idealflow and not edited since."""
        if not path.exists():
            return True
        try:
            text = path.read_text(encoding="utf-8")
            if text.startswith(_SIGNATURE):
                return signed(text.partition("\n")[2]) == text
            # until version 0.1 it had no signature, but a form of its own
            plain = yaml.safe_load(text)
            ours = isinstance(plain, dict) and next(iter(plain), None) == "campaign"
            return self._begun and ours and yaml.safe_dump(plain, sort_keys=False) == text
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            return False


def _holds(root: str, artifacts: list[Artifact]) -> bool:
    store = ArtifactStore(root)
    return any(store.exists(artifact) for artifact in artifacts)


def _is_summary(path: Path) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False
    return isinstance(found, dict) and {"campaign", "status", "rounds"} <= set(found)


def _is_report(path: Path) -> bool:
    with path.open("rb") as page:
        return b"<title>Campaign " in page.read(_PAGE_START)
