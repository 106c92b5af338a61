"""Exact, atomic files of named arrays: the container of MD states and checkpoints.

An archive is an uncompressed ``.npz`` without pickles whose members carry zip checksums. Its bytes depend on its
content alone, so that equal states have equal hashes. One that is stored after another of its kind can lean on it, and hold only
what is new (:mod:`idealflow.core.leaning`).
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from idealflow.core.leaning import gathered
from idealflow.core.members import META, encoded, header_of, read_members, write_whole
from idealflow.errors import ArtifactError

__all__ = ["archive_kind", "packed", "read_archive", "unpacked", "write_archive"]

Loaded = TypeVar("Loaded")


def write_archive(
    path: str | Path, kind: str, version: int, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]
) -> Path:
    """Write arrays and plain metadata to a file; after a crash it has either its old or its complete new content.

    Parameters
    ----------
    path
        Where to write; the folder must exist.
    kind, version
        What the file is; checked by :func:`read_archive`.
    arrays
        Named arrays of any shape and numeric type.
    meta
        JSON-serialisable values (integers of any size).

    Returns
    -------
    pathlib.Path
        ``path``.

    Examples
    --------
    Equal content gives equal bytes:

    >>> first, second = (write_archive(name, "state", 1, {"x": np.arange(3)}, {"step": 5}) for name in ("a.npz", "b.npz"))
    >>> first.read_bytes() == second.read_bytes()
    True
    """
    header = {"kind": kind, "version": version, "meta": dict(meta)}
    return write_whole(Path(path), {META: encoded(header), **arrays})


def archive_kind(path: str | Path) -> str | None:
    """Read the ``kind`` with which an archive was written, from its header alone.

    Returns
    -------
    str or None
        None for a file that is missing, damaged or no archive.

    Examples
    --------
    >>> archive_kind(write_archive("state.npz", "state", 1, {}, {})), archive_kind("absent.npz")
    ('state', None)
    """
    try:
        return str(header_of(read_members(Path(path), [META]))["kind"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def read_archive(path: str | Path, kind: str, version: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write_archive` wrote, and verify the checksums.

    Parameters
    ----------
    path
        File to read.
    kind, version
        The kind that the file must have, and the newest version that the caller understands.

    Returns
    -------
    arrays, meta
        As they were written.

    Raises
    ------
    ArtifactError
        If the file is missing, cut short, damaged, of another kind, or of a newer version.

    Examples
    --------
    >>> path = write_archive("state.npz", "state", 1, {"x": np.arange(3)}, {"step": 5})
    >>> read_archive(path, "state", 1)
    ({'x': array([0, 1, 2])}, {'step': 5})
    >>> read_archive(path, "trajectory", 1)
    Traceback (most recent call last):
    idealflow.errors.ArtifactError: state.npz holds kind 'state' version 1; expected 'trajectory' up to version 1
    """
    path = Path(path)
    try:
        arrays = read_members(path)
        header = json.loads(arrays.pop(META).tobytes())
        found, found_version, meta = header["kind"], header["version"], header["meta"]
        arrays = gathered(path, arrays, header)
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} does not exist; expected a file of kind {kind!r}") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{path} is cut short, damaged or foreign ({type(error).__name__}: {error}); expected a file of kind "
            f"{kind!r}; restore it from a copy or start again without it"
        ) from error
    if found != kind or found_version > version:
        raise ArtifactError(
            f"{path} holds kind {found!r} version {found_version}; expected {kind!r} up to version {version}"
        )
    return arrays, meta


def packed(save: Callable[[Path], object]) -> NDArray[np.uint8]:
    """Bytes of a file as an array, so that an object which saves itself to a file can be stored inside an archive.

    Parameters
    ----------
    save
        Function that writes the file to the path that it is given.

    Returns
    -------
    (n_bytes,) uint8

    Examples
    --------
    >>> packed(lambda path: path.write_text("abc")).tolist()
    [97, 98, 99]
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part"
        save(path)
        return np.frombuffer(path.read_bytes(), dtype=np.uint8)


def unpacked(content: NDArray[np.uint8], load: Callable[[Path], Loaded]) -> Loaded:
    """Load an object from the bytes that :func:`packed` returned; ``load`` gets the path of a file that holds them.

    Examples
    --------
    >>> unpacked(packed(lambda path: path.write_text("abc")), Path.read_text)
    'abc'
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part"
        path.write_bytes(content.tobytes())
        return load(path)
