"""Writing a trajectory file; its layout is told in :mod:`~idealflow.core.dynamics.trajectory`, which reads it."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from ase import Atoms

from idealflow.core.dynamics.state import MDState
from idealflow.core.dynamics.trajectory import AXIS_BITS, FORMATS, LAYOUTS, Layout, Trajectory
from idealflow.errors import ArtifactError, OtherSegmentError

__all__ = ["TrajectoryWriter"]

_MOMENTS = "initial_magmoms"


def _header(state: MDState, key: str, layout: Layout) -> bytes:
    fields: dict[str, Any] = {"key": key, "n_atoms": state.n_atoms, "pbc": state.pbc.tolist(), **state.totals}
    if (moments := state.extra.get(_MOMENTS)) is not None:
        fields["moments"] = True
    fixed = state.fixed.astype(np.uint8)
    if state.held is not None:
        fixed += (state.held @ AXIS_BITS).astype(np.uint8)
    constants = state.numbers.tobytes() + state.masses.tobytes() + fixed.tobytes()
    if moments is not None:
        constants += moments.astype("<f8").tobytes()
    if layout.packed:
        constants = zlib.compress(constants)
        fields["packed"] = len(constants)
    constants += bytes(-len(constants) % 8)
    text = json.dumps(fields, sort_keys=True).encode()
    text += b" " * (-(len(layout.magic) + 8 + len(text)) % 8)  # records start on 8 bytes
    return layout.magic + struct.pack("<Q", len(text)) + text + constants


class TrajectoryWriter:
    """Append frames of one walker to a file; a context manager.

    Parameters
    ----------
    path
        File to write.
    state
        Any state of the walker, for its numbers, masses, fixed atoms, periodicity, moments, charge and spin.
    key
        What the file belongs to; an existing file with another key is never overwritten.
    keep
        Number of frames to keep of an existing file, which is cut there and continued in its own format. None starts a new file.
    form
        ``exact``, ``single`` or ``positions`` (:mod:`~idealflow.core.dynamics.trajectory`).

    Raises
    ------
    OtherSegmentError
        If a file of another key stands at ``path``.
    ArtifactError
        If the file holds fewer than ``keep`` frames.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> start = MDState.initial(bulk("Cu", cubic=True), temperature=300.0, seed=0)
    >>> path = Path(tempfile.mkdtemp()) / "md.idf"
    >>> with TrajectoryWriter(path, start) as writer:
    ...     writer.append(start.atoms(), step=0, time=0.0, energy=-1.5, temperature=300.0)
    >>> Trajectory(path)[0].info["energy"]
    -1.5
    """

    def __init__(
        self, path: str | Path, state: MDState, key: str = "", keep: int | None = None, form: str = "exact"
    ) -> None:
        self.path = Path(path)
        self._layout = FORMATS[form] if keep is None else Trajectory(self.path).layout
        self._header = _header(state, key, self._layout)
        self._size = self._layout.size(state.n_atoms)
        if self.path.exists() and self.path.stat().st_size > 0:
            with self.path.open("rb") as existing:
                start = existing.read(len(self._header))
            # if a run was killed while it wrote the header, the file is the beginning of this header, or of an earlier version's
            mine = [_header(state, key, known) for known in LAYOUTS.values()]
            if start not in mine and not (keep is None and any(header.startswith(start) for header in mine)):
                raise OtherSegmentError(
                    f"a trajectory file is written once, but {self.path} exists and belongs to something else; move "
                    "it away or choose another path"
                )
        if keep is None:
            self._file: BinaryIO = self.path.open("wb")
            self._file.write(self._header)
            self.n_frames = 0
        else:
            found = len(Trajectory(self.path))
            if found < keep:
                raise ArtifactError(
                    f"{self.path} holds {found} whole frames, its checkpoint expects {keep}; delete both to start the "
                    "segment again"
                )
            self._file = self.path.open("r+b")
            self.n_frames = keep
            self.cut(keep)

    def append(self, atoms: Atoms, step: int, time: float, energy: float, temperature: float) -> None:
        """Add one frame (time in fs, energy in eV, temperature in K)."""
        layout = self._layout
        parts = [struct.pack("<qddd", step, time, energy, temperature), np.asarray(atoms.cell, dtype="<f8").tobytes()]
        parts.append(atoms.positions.astype(layout.real).tobytes())
        if layout.momenta:
            parts.append(atoms.get_momenta().astype(layout.real).tobytes())
        parts.append(bytes(-layout.per_atom(len(atoms)) % 8))
        checksum = 0
        for part in parts:  # one after the other: a frame of a million atoms is not copied together
            checksum = zlib.crc32(part, checksum)
            self._file.write(part)
        self._file.write(struct.pack("<II", checksum, 0))
        self.n_frames += 1

    def cut(self, n_frames: int) -> None:
        """Drop all frames from number ``n_frames`` on."""
        self._file.flush()
        self._file.truncate(len(self._header) + n_frames * self._size)
        self._file.seek(0, os.SEEK_END)
        self.n_frames = n_frames

    def sync(self) -> None:
        """Force everything onto the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Sync and close."""
        if not self._file.closed:
            self.sync()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
