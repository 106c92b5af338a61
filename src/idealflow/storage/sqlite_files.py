"""Opening SQLite files so that damage, foreign files and full or read-only disks end in clear errors."""

from __future__ import annotations

import os
import sqlite3
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from idealflow.errors import ArtifactError, InputError

__all__ = ["create_file", "explained", "look_at_file", "open_file", "settled"]

APPLICATION_ID = 0x1DEA1F10
FORMAT = 1
_MAGIC = b"SQLite format 3\x00"

_REMEDIES = (
    ("database or disk is full", "the disk is full; free space and run again, nothing stored is lost"),
    ("disk i/o error", "the disk is full, over quota or failing; make space and run again, nothing stored is lost"),
    ("locked", "another process has held it longer than the time limit; end that process or raise `timeout_s`"),
    ("readonly", "the file or its folder may not be written; change its permissions or choose another folder"),
    ("unable to open", "the file or its folder may not be written; change its permissions or choose another folder"),
    ("not a database", "it is not a SQLite file; move it away or choose another path"),
    ("malformed", "the file is damaged or cut short; put back a copy, it is left as it is"),
)


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn errors that SQLite raises on a file into :class:`~idealflow.errors.ArtifactError` with a remedy.

    Examples
    --------
    >>> with explained("store.sqlite"):  # doctest: +ELLIPSIS
    ...     raise sqlite3.OperationalError("database is locked")
    Traceback (most recent call last):
        ...
    idealflow.errors.ArtifactError: document store store.sqlite: database is locked; another process has held it longer ...
    """
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except (sqlite3.Error, OSError) as error:
        text = str(error).lower()
        remedy = next((remedy for part, remedy in _REMEDIES if part in text), "see the cause above")
        raise ArtifactError(f"document store {path}: {error}; {remedy}") from error


def _check_header(path: Path) -> None:
    """Refuse a file that is foreign or shorter than its own header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise ArtifactError(
            f"document store {path}: expected a SQLite file, found {size} bytes that are none (cut short or foreign); "
            "it is left as it is: move it away or choose another path"
        )
    (found_id,) = struct.unpack_from(">I", header, 68)
    if found_id != APPLICATION_ID:
        raise ArtifactError(
            f"document store {path}: a SQLite file of another program (application id {found_id:#x}, expected "
            f"{APPLICATION_ID:#x}); choose another path"
        )
    page_size, pages = struct.unpack_from(">H", header, 16)[0], struct.unpack_from(">I", header, 28)[0]
    page_size = 65536 if page_size == 1 else page_size
    # while a write-ahead log waits, pages that the header counts may still lie in it
    if size < page_size * pages and settled(path) is not None:
        raise ArtifactError(
            f"document store {path}: cut short, expected {page_size * pages} bytes, found {size}; it is left as it is: "
            "put back a copy"
        )


def settled(path: Path) -> tuple[int, int] | None:
    """Return time (ns) and size of a store's file, or None while changes to it wait in a write-ahead log.

    They wait while a writer has the file open, and after one that died.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "store.sqlite")
    >>> create_file(path)
    >>> time_ns, size = settled(path)
    >>> size > 0
    True
    """
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def create_file(path: Path) -> None:
    """Create an empty store at a path, whole or not at all, unless there is one.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "store.sqlite")
    >>> create_file(path)
    >>> path.exists()
    True
    """
    if path.is_dir():
        raise InputError(f"document store must be a file, {path} is a folder; name a file in it")
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with explained(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(draft)
            try:
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={FORMAT}")
                connection.execute("PRAGMA journal_mode=WAL")
            finally:
                connection.close()
            try:
                os.link(draft, path)
            except FileExistsError:  # another process was faster
                return
    finally:
        draft.unlink(missing_ok=True)


def open_file(path: Path, timeout_s: float, synchronous: str) -> sqlite3.Connection:
    """Open an existing store.

    Raises
    ------
    ArtifactError
        When the file is missing, foreign, cut short, of a newer format, locked, or not allowed to be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "store.sqlite")
    >>> create_file(path)
    >>> connection = open_file(path, timeout_s=60.0, synchronous="FULL")
    >>> connection.execute("PRAGMA journal_mode").fetchone()
    ('wal',)
    >>> connection.close()
    """
    with explained(str(path)):
        _check_header(path)
        uri = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(
            uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            connection.execute(f"PRAGMA synchronous={synchronous}")
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
    if found != FORMAT or mode != "wal":
        connection.close()
        raise ArtifactError(
            f"document store {path}: expected format {FORMAT} with a write-ahead log, found format {found} and "
            f"journal {mode!r}; use the version of idealflow that wrote it, on a local disk"
        )
    return connection


def look_at_file(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Open an existing store to look at it: neither the file nor its folder is written to.

    Raises
    ------
    ArtifactError
        When the file is missing, foreign, cut short or of a newer format; when a write-ahead log waits and SQLite cannot
        read it without writing beside it.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "store.sqlite")
    >>> create_file(path)
    >>> connection = look_at_file(path, timeout_s=60.0)
    >>> connection.execute("CREATE TABLE t (x)")
    Traceback (most recent call last):
        ...
    sqlite3.OperationalError: attempt to write a readonly database
    >>> connection.close()
    """
    # a settled file may be read without the files that SQLite keeps beside one in use
    settles = path.exists() and settled(path) is not None
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if settles else ''}"
    with explained(str(path)):
        _check_header(path)
        connection = sqlite3.connect(
            uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            connection.close()
            if settles:
                raise
            raise ArtifactError(
                f"document store {path}: {error}; the process that wrote it last has left a log ({path.name}-wal) that "
                "cannot be read without writing beside it: copy the folder to a place that you may write, and look there"
            ) from error
    if found != FORMAT:
        connection.close()
        raise ArtifactError(
            f"document store {path}: expected format {FORMAT}, found format {found}; use the version of idealflow that "
            "wrote it"
        )
    return connection
