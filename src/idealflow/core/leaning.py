"""Archives that lean on earlier ones: what is in them already is named and not written again."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idealflow.core.members import META, encoded, header_of, read_members, write_members, write_whole
from idealflow.errors import ArtifactError

__all__ = ["gathered", "lean", "leans_on"]

#: separates the name of an archive inside an archive from the names of its arrays
_INSIDE = "//"

#: smaller arrays are always held, bytes
_SMALL = 1024


def lean(path: str | Path, on: str | Path, reference: Mapping[str, Any]) -> None:
    """Rewrite an archive so that it leaves out arrays which an earlier one holds, or one of those that that one leans on.

    Read back, it is what it was. Archives inside an archive (:func:`~idealflow.core.archive.packed`) are taken apart likewise. On
    one that was never given to this function nothing can lean: the archive then stays whole, and later ones can lean on it.

    Parameters
    ----------
    path
        Archive that :func:`write_archive` wrote.
    on
        The earlier archive; ``path`` itself if there is none.
    reference
        How the earlier one is called: ``path`` from the root of the folder that both will lie in, one folder below it; further
        entries are for whoever moves files (:func:`leans_on`).

    Examples
    --------
    >>> import tempfile
    >>> from idealflow.core.archive import read_archive, write_archive
    >>> folder = Path(tempfile.mkdtemp(), "a")
    >>> folder.mkdir()
    >>> old, new = np.arange(1000.0), np.ones(500)
    >>> first = write_archive(folder / "first", "state", 1, {"old": old}, {})
    >>> lean(first, first, {})
    >>> second = write_archive(folder / "second", "state", 1, {"old": old, "new": new}, {})
    >>> lean(second, first, {"path": "a/first"})
    >>> second.stat().st_size < 6000, leans_on(second)
    (True, [{'path': 'a/first'}])
    >>> sorted(read_archive(second, "state", 1)[0])
    ['new', 'old']
    """
    members = _taken_apart(read_members(Path(path)))
    held: dict[str, tuple[dict[str, Any], str]] = {}
    if Path(on) != Path(path):
        earlier = header_of(read_members(Path(on), [META]))
        held = {digest: (dict(reference), name) for name, digest in earlier.get("digests", {}).items()}
        for name, (number, member, digest) in earlier.get("elsewhere", {}).items():
            held.setdefault(digest, (earlier["files"][number], member or name))
    digests: dict[str, str] = {}
    elsewhere: dict[str, tuple[int, str, str]] = {}
    files: list[dict[str, Any]] = []
    for name, array in members.items():
        if name == META or array.nbytes < _SMALL:
            continue
        digest = hashlib.sha256(
            f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).data
        ).hexdigest()
        if digest in held:
            file, member = held[digest]
            if file not in files:
                files.append(file)
            elsewhere[name] = (files.index(file), member, digest)
        else:
            digests[name] = digest
    header = {**header_of(members), "digests": digests, "elsewhere": elsewhere, "files": files, "order": list(members)}
    own = {name: array for name, array in members.items() if name != META and name not in elsewhere}
    write_whole(Path(path), {META: encoded(header), **own})


def leans_on(path: str | Path) -> list[dict[str, Any]]:
    """References of the files that an archive needs to be read; none if it is whole, missing, damaged or no archive.

    Examples
    --------
    >>> leans_on("absent.npz")
    []
    """
    try:
        files: list[dict[str, Any]] = header_of(read_members(Path(path), [META])).get("files", [])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return []
    return files


def _taken_apart(members: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The members, and in place of archives among them theirs."""
    found: dict[str, NDArray[Any]] = {}
    for name, array in members.items():
        inner: dict[str, NDArray[Any]] = {}
        if name != META and array.dtype == np.uint8 and array.ndim == 1 and array[:4].tobytes() == b"PK\x03\x04":
            try:
                inner = read_members(io.BytesIO(array.tobytes()))
            except (ValueError, KeyError, zipfile.BadZipFile):
                inner = {}  # another kind of zip file: it stays as it is
        if META in inner:
            found |= {f"{name}{_INSIDE}{key}": value for key, value in inner.items()}
        else:
            found[name] = array
    return found


def _put_together(members: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The members that were given to :func:`_taken_apart`."""
    found: dict[str, NDArray[Any]] = {}
    inner: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in members.items():
        outer, inside, key = name.partition(_INSIDE)
        if inside:
            inner.setdefault(outer, {})[key] = array
            found[outer] = np.zeros(0, dtype=np.uint8)
        else:
            found[name] = array
    for name, parts in inner.items():
        buffer = io.BytesIO()
        write_members(buffer, parts)
        found[name] = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
    return found


def gathered(path: Path, members: dict[str, NDArray[Any]], header: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays of an archive at ``path`` that may lean on others, from the members that it holds and its header.

    Raises
    ------
    ArtifactError
        If a file that it leans on does not exist.

    Examples
    --------
    >>> gathered(Path("whole.npz"), {"x": np.arange(2)}, {"kind": "state"})
    {'x': array([0, 1])}
    """
    if "order" not in header:
        return members
    for number, file in enumerate(header["files"]):
        wanted = {name: member for name, (at, member, _) in header["elsewhere"].items() if at == number}
        source = path.parent.parent / file["path"]
        if not source.exists():
            raise ArtifactError(f"{path} leans on {source}, which does not exist; put back the file or a backup")
        read = read_members(source, list(wanted.values()))
        members |= {name: read[member] for name, member in wanted.items()}
    return _put_together({name: members[name] for name in header["order"] if name != META})
