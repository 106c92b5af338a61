"""Members of archives: named arrays in an uncompressed zip file, read and written exactly."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["META", "encoded", "header_of", "read_members", "write_members", "write_whole"]

#: the member that holds the header, as JSON
META = "__meta__"


def encoded(header: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The member of a header.

    Examples
    --------
    >>> header_of({META: encoded({"kind": "state"})})
    {'kind': 'state'}
    """
    return np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)


def write_whole(path: Path, members: Mapping[str, NDArray[Any]]) -> Path:
    """Write members to a file that is there whole or not at all, and give its path back.

    Examples
    --------
    >>> read_members(write_whole(Path("a.npz"), {"x": np.arange(3)}))
    {'x': array([0, 1, 2])}
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as handle:
            write_members(handle, members)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)
    return path


def write_members(handle: IO[bytes], members: Mapping[str, NDArray[Any]]) -> None:
    """Write members to an open file, in their order.

    Examples
    --------
    >>> with Path("b.npz").open("wb") as handle:
    ...     write_members(handle, {"x": np.arange(2)})
    >>> read_members(Path("b.npz"), ["x"])
    {'x': array([0, 1])}
    """
    # one member after the other: np.savez would refuse names that clash with its own keywords
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in members.items():
            info = zipfile.ZipInfo(f"{name}.npy")  # its date is fixed: equal content, equal bytes
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def read_members(source: Path | IO[bytes], names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """All members, or those of some names, with their checksums verified.

    Raises
    ------
    OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile
        If the file is missing, cut short, damaged or foreign, or lacks a name.

    Examples
    --------
    >>> list(read_members(write_whole(Path("c.npz"), {"x": np.ones(1), "y": np.ones(2)}), ["y"]))
    ['y']
    """
    found: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist() if names is None else [f"{name}.npy" for name in names]:
            with archive.open(name) as member:
                found[name.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
                member.read()  # to the end, so that the member's checksum is verified
    return found


def header_of(members: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The header among the members of an archive.

    Examples
    --------
    >>> header_of({META: encoded({"version": 2})})
    {'version': 2}
    """
    header: dict[str, Any] = json.loads(members[META].tobytes())
    return header
