"""Files named by the SHA-256 of their content: written once, whole or not at all, verified when read.

A store is a folder, or any place fsspec knows (``s3://bucket/prefix``, ``memory://name``). An artifact lies at
``ab/abcdef….suffix`` below its root; documents hold that path, the hash and the size.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from idealflow.core.leaning import leans_on
from idealflow.errors import ArtifactError, InputError
from idealflow.schemas import Artifact

__all__ = ["ArtifactStore"]

_SUFFIX = re.compile(r"(\.[A-Za-z0-9_-]+)*")
_BLOCK = 1 << 20
_logger = logging.getLogger(__name__)

# (mtime in ns, size, hash) of files this process has verified: each is read in full once, and again when touched
_VERIFIED: dict[str, tuple[int, int, str]] = {}


class ArtifactStore:
    """Files below a root, each named by the hash of its content.

    Parameters
    ----------
    url
        Root: a path, ``file://…``, or a remote URL of fsspec. A local folder is created when first written to.
    cache
        Folder for local copies of remote artifacts; ``$XDG_CACHE_HOME/idealflow`` or ``~/.cache/idealflow`` when
        not given. Unused for local roots.

    Examples
    --------
    >>> import tempfile
    >>> store = ArtifactStore("memory://example", cache=tempfile.mkdtemp())
    >>> artifact = store.put_bytes(b"1 2 3", suffix=".txt")
    >>> artifact.path
    '7c/7c8f5059290305cec8323d79521f0353c9ac308b60cb4c1976340d0ce4a121d5.txt'
    >>> store.get(artifact).read_bytes()
    b'1 2 3'
    """

    def __init__(self, url: str | Path, cache: str | Path | None = None) -> None:
        self.url = str(url)
        self.cache = None if cache is None else str(cache)
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise InputError(
                f"artifact store {self.url}: {error}; give a folder, or a URL whose fsspec package is installed"
            ) from error
        self._local = isinstance(self._fs, LocalFileSystem)

    def __repr__(self) -> str:
        return f"ArtifactStore({self.url!r})"

    def __eq__(self, other: object) -> bool:
        """Equal when they have the same root."""
        return isinstance(other, ArtifactStore) and (type(self._fs), self._root) == (type(other._fs), other._root)

    def __hash__(self) -> int:
        """Hash of the root."""
        return hash((type(self._fs), self._root))

    def __reduce__(self) -> tuple[Any, ...]:
        return ArtifactStore, (self.url, self.cache)

    # -- writing ----------------------------------------------------------------------------------------------

    def put_bytes(self, data: bytes, suffix: str = "") -> Artifact:
        """Store `data`; see :meth:`put_file`."""
        return self._put(io.BytesIO(data), suffix)

    def put_file(self, local_path: str | Path, suffix: str = "") -> Artifact:
        """Store a copy of a local file.

        Parameters
        ----------
        local_path
            The file; it stays where it is.
        suffix
            Ending of the artifact's name, such as ``.npz``; part of the path, not of the hash.

        Returns
        -------
        Artifact
            Path relative to the root, hash and size. Storing the same content again returns the same artifact.

        Raises
        ------
        ArtifactError
            When the file cannot be read, or the store not be written (disk full, no permission); nothing partial is
            left at the artifact's path.
        """
        try:
            with Path(local_path).open("rb") as source:
                return self._put(source, suffix)
        except OSError as error:
            raise ArtifactError(f"cannot read {local_path} to store it: {error}; nothing was stored") from error

    def _put(self, source: BinaryIO, suffix: str) -> Artifact:
        if not _SUFFIX.fullmatch(suffix):
            raise InputError(f"suffix must look like '.npz' or '.tar.gz', got {suffix!r}")
        base = Path(self._root) if self._local else self._cache_folder()
        with _draft(base) as draft:
            digest, size = hashlib.sha256(), 0
            with _explained(str(base)), draft.open("xb") as target:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    size += len(block)
                    target.write(block)
                target.flush()
                os.fsync(target.fileno())
            name = digest.hexdigest()
            artifact = Artifact(path=f"{name[:2]}/{name}{suffix}", sha256=name, size=size)
            if self._local:
                self._settle(draft, Path(self._root, artifact.path), artifact)
            else:
                self._upload(draft, artifact)
                self._settle(draft, self._cached(artifact), artifact)
        return artifact

    def _settle(self, draft: Path, final: Path, artifact: Artifact) -> None:
        """Move a complete file to its name; a sound one that is there already stays."""
        if final.exists():
            try:
                _verify(final, artifact)
            except ArtifactError as error:
                _logger.warning("%s; replaced by the same content, just written", error)
            else:
                return
        with _explained(str(final)):
            final.parent.mkdir(exist_ok=True)
            draft.replace(final)
            _sync_folder(final.parent)
            _sync_folder(final.parent.parent)
        _remember(final, artifact)

    def _upload(self, draft: Path, artifact: Artifact) -> None:
        target, partial = self._remote(artifact), f"{self._root.rstrip('/')}/partial/{uuid.uuid4().hex}"
        with _explained(f"{self.url} ({artifact.path})"):
            if self._fs.exists(target) and self._fs.size(target) == artifact.size:
                return
            self._fs.makedirs(str(PurePosixPath(partial).parent), exist_ok=True)
            self._fs.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
            try:
                self._fs.put_file(str(draft), partial)
                self._fs.mv(partial, target)
            finally:
                if self._fs.exists(partial):
                    self._fs.rm(partial)
            found = self._fs.size(target)
        if found != artifact.size:
            raise ArtifactError(f"upload to {self.url}/{artifact.path}: expected {artifact.size} bytes, found {found}")

    # -- reading ----------------------------------------------------------------------------------------------

    def get(self, artifact: Artifact) -> Path:
        """Return a local file with the artifact's content, verified; archives that it leans on lie beside it.

        Size and hash are checked in full once per process, and again when the file's time or size changes.

        Raises
        ------
        ArtifactError
            When it is missing, cut short or altered; the message names the file, what was expected and what found.
        """
        path = self._got(artifact)
        if not self._local and path.suffix == ".npz":
            for file in leans_on(path):  # what it needs to be read has to lie beside it
                self._got(Artifact.model_validate(file))
        return path

    def _got(self, artifact: Artifact) -> Path:
        self._check_name(artifact)
        if self._local:
            path = Path(self._root, artifact.path)
            if not path.exists():
                raise ArtifactError(f"{path}: missing, expected {artifact.size} bytes; put back the file or a backup")
            _verify(path, artifact)
            return path
        path = self._cached(artifact)
        if path.exists():
            try:
                _verify(path, artifact)
            except ArtifactError as error:
                _logger.warning("%s; fetched again from %s", error, self.url)
            else:
                return path
        with _draft(self._cache_folder()) as draft:
            source = self._remote(artifact)
            with _explained(f"{self.url}/{artifact.path}"):
                if not self._fs.exists(source):
                    raise ArtifactError(f"{self.url}/{artifact.path}: missing, expected {artifact.size} bytes")
                self._fs.get_file(source, str(draft))
            _verify(draft, artifact, shown=f"{self.url}/{artifact.path}")
            self._settle(draft, path, artifact)
        return path

    def open(self, artifact: Artifact) -> BinaryIO:
        """Open the verified content for reading, binary."""
        return self.get(artifact).open("rb")

    def exists(self, artifact: Artifact) -> bool:
        """Whether a file of the right size is at the artifact's path (its hash is left to :meth:`get`)."""
        self._check_name(artifact)
        target = self._remote(artifact)
        with _explained(f"{self.url}/{artifact.path}"):
            return bool(self._fs.exists(target)) and int(self._fs.size(target)) == artifact.size

    def _check_name(self, artifact: Artifact) -> None:
        stem = f"{artifact.sha256[:2]}/{artifact.sha256}"
        suffix = artifact.path.removeprefix(stem)
        if (
            not re.fullmatch("[0-9a-f]{64}", artifact.sha256)
            or suffix == artifact.path
            or not _SUFFIX.fullmatch(suffix)
        ):
            raise ArtifactError(f"artifact path {artifact.path!r} does not belong to the hash {artifact.sha256!r}")

    def _remote(self, artifact: Artifact) -> str:
        return f"{self._root.rstrip('/')}/{artifact.path}"

    def _cache_folder(self) -> Path:
        if self.cache is not None:
            return Path(self.cache)
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "idealflow" / "artifacts"

    def _cached(self, artifact: Artifact) -> Path:
        return self._cache_folder() / artifact.path


@contextmanager
def _explained(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"artifact store {where}: {error}; check space, quota and permissions and run again, nothing stored is lost"
        ) from error


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """Path of a hidden file in `folder` that is gone afterwards unless it was moved."""
    draft = folder / f".{uuid.uuid4().hex}.partial"
    with _explained(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remember(path: Path, artifact: Artifact) -> None:
    status = path.stat()
    _VERIFIED[str(path)] = (status.st_mtime_ns, status.st_size, artifact.sha256)


def _verify(path: Path, artifact: Artifact, shown: str | None = None) -> None:
    """Raise ArtifactError unless the file has the artifact's size and hash."""
    shown = shown or str(path)
    with _explained(shown):
        status = path.stat()
        if _VERIFIED.get(str(path)) == (status.st_mtime_ns, status.st_size, artifact.sha256):
            return
        if status.st_size != artifact.size:
            raise ArtifactError(
                f"{shown}: cut short or altered, expected {artifact.size} bytes, found {status.st_size}"
            )
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != artifact.sha256:
        raise ArtifactError(f"{shown}: altered, expected SHA-256 {artifact.sha256}, found {found}")
    _remember(path, artifact)
