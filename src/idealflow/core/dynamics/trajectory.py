"""A trajectory as an append-only file of equal records: exact, cut-proof, cheap to read by frame.

Layout, little endian: magic (8 bytes), length of the header (uint64), header (JSON), the per-atom constants (numbers
int64, masses float64, fixed uint8), then one record per frame: step (int64), time in fs, potential energy in eV,
temperature in K (float64 each, NaN where undefined), cell (9 float64), positions (3·n_atoms float64), checksum of
the record (uint32, zlib.crc32) and 4 zero bytes. Positions are unwrapped and in double precision, so that a frame
read back is the frame that was computed. A file that was cut loses its last, partial record only.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, overload

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from numpy.typing import NDArray

from idealflow.core.dynamics.state import MDState
from idealflow.errors import ArtifactError, OtherSegmentError

__all__ = ["Trajectory", "TrajectoryWriter", "read_trajectory"]

_MAGIC = b"IDFTRJ01"
_N_SCALARS = 13  # step, time, energy, temperature and the cell, 8 bytes each
_N_TAIL = 8


def _header(state: MDState, key: str) -> bytes:
    text = json.dumps({"key": key, "n_atoms": state.n_atoms, "pbc": state.pbc.tolist()}, sort_keys=True).encode()
    text += b" " * (-(len(_MAGIC) + 8 + len(text)) % 8)  # records start on 8 bytes
    constants = state.numbers.tobytes() + state.masses.tobytes() + state.fixed.astype(np.uint8).tobytes()
    constants += bytes(-len(constants) % 8)
    return _MAGIC + struct.pack("<Q", len(text)) + text + constants


def _record_size(n_atoms: int) -> int:
    return 8 * _N_SCALARS + 24 * n_atoms + _N_TAIL


class TrajectoryWriter:
    """Appends frames of one walker to a file.

    Parameters
    ----------
    path
        File to write.
    state
        Any state of the walker: gives the numbers, masses, fixed atoms and periodicity.
    key
        Names what the file belongs to; an existing file of another key is never overwritten.
    keep
        Number of frames to keep of an existing file, which is cut there and continued; None starts anew.

    Raises
    ------
    OtherSegmentError
        If a file of another key stands at ``path``.
    ArtifactError
        If the file holds fewer than ``keep`` frames.
    """

    def __init__(self, path: str | Path, state: MDState, key: str = "", keep: int | None = None) -> None:
        self.path = Path(path)
        self._header = _header(state, key)
        self._size = _record_size(state.n_atoms)
        if self.path.exists() and self.path.stat().st_size > 0:
            with self.path.open("rb") as existing:
                start = existing.read(len(self._header))
            # a file killed while its header was written is a beginning of this header
            if start != self._header and not (keep is None and self._header.startswith(start)):
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
        scalars = struct.pack("<qddd", step, time, energy, temperature)
        record = scalars + np.asarray(atoms.cell, dtype="<f8").tobytes() + atoms.positions.astype("<f8").tobytes()
        self._file.write(record + struct.pack("<II", zlib.crc32(record), 0))
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
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Constants:
    numbers: NDArray[np.int64]
    masses: NDArray[np.float64]
    fixed: NDArray[np.bool_]
    pbc: list[bool]
    offset: int
    key: str


class Trajectory(Sequence[Atoms]):
    """Frames of a trajectory file, read when asked for.

    ``len``, integer indices (negative ones too), slices and iteration work as for a list. Every frame is a new
    ``Atoms`` (unwrapped) with ``step``, ``time`` (fs), ``energy`` (eV) and ``temperature`` (K) in ``info``.

    Parameters
    ----------
    path
        File written by :class:`TrajectoryWriter`, finished or not.

    Raises
    ------
    ArtifactError
        If the file is missing or foreign; when a frame's checksum does not match.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._constants = self._read_constants()
        self._size = _record_size(len(self._constants.numbers))
        self._n_frames = max(0, self.path.stat().st_size - self._constants.offset) // self._size

    def _read_constants(self) -> _Constants:
        try:
            with self.path.open("rb") as file:
                if file.read(len(_MAGIC)) != _MAGIC:
                    raise ArtifactError(f"{self.path} is not a trajectory; expected it to start with {_MAGIC!r}")
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(length))
                n_atoms = header["n_atoms"]
                body = file.read(n_atoms * 17)
                numbers = np.frombuffer(body, dtype="<i8", count=n_atoms).astype(np.int64)
                masses = np.frombuffer(body, dtype="<f8", count=n_atoms, offset=8 * n_atoms).astype(np.float64)
                fixed = np.frombuffer(body, dtype=np.uint8, count=n_atoms, offset=16 * n_atoms).astype(bool)
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise ArtifactError(
                f"{self.path} is missing, or cut within its header ({type(error).__name__}: {error})"
            ) from error
        offset = len(_MAGIC) + 8 + length + n_atoms * 17 + (-n_atoms * 17 % 8)
        return _Constants(numbers, masses, fixed, header["pbc"], offset, header["key"])

    @property
    def key(self) -> str:
        """What the file belongs to, as given to the writer."""
        return self._constants.key

    def __len__(self) -> int:
        return self._n_frames

    @overload
    def __getitem__(self, index: int) -> Atoms: ...
    @overload
    def __getitem__(self, index: slice) -> list[Atoms]: ...
    def __getitem__(self, index: int | slice) -> Atoms | list[Atoms]:
        with self.path.open("rb") as file:
            if isinstance(index, slice):
                return [self._read(file, i) for i in range(*index.indices(len(self)))]
            number = index + len(self) if index < 0 else index
            if not 0 <= number < len(self):
                raise IndexError(f"frame {index} of {len(self)}")
            return self._read(file, number)

    def __iter__(self) -> Iterator[Atoms]:
        with self.path.open("rb") as file:
            for index in range(len(self)):
                yield self._read(file, index)

    def _record(self, file: BinaryIO, index: int) -> bytes:
        file.seek(self._constants.offset + index * self._size)
        record = file.read(self._size)
        (checksum,) = struct.unpack_from("<I", record, self._size - _N_TAIL)
        body = record[:-_N_TAIL]
        if zlib.crc32(body) != checksum:
            raise ArtifactError(f"frame {index} of {self.path} is damaged: its checksum does not match")
        return body

    def _read(self, file: BinaryIO, index: int) -> Atoms:
        body = self._record(file, index)
        step, time, energy, temperature = struct.unpack_from("<qddd", body)
        numbers = np.frombuffer(body, dtype="<f8", offset=32)
        known = self._constants
        atoms = Atoms(
            numbers=known.numbers,
            positions=numbers[9:].reshape(-1, 3),
            cell=numbers[:9].reshape(3, 3),
            pbc=known.pbc,
            masses=known.masses,
            info={"step": step, "time": time, "energy": energy, "temperature": temperature},
        )
        if known.fixed.any():
            atoms.set_constraint(FixAtoms(mask=known.fixed))
        return atoms

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Whole trajectory as arrays, for analysis.

        Returns
        -------
        dict
            ``step`` (n,), ``time`` (n,) fs, ``energy`` (n,) eV, ``temperature`` (n,) K, ``cell`` (n, 3, 3) Å,
            ``positions`` (n, n_atoms, 3) Å.
        """
        n_atoms = len(self._constants.numbers)
        kind = np.dtype(
            [("step", "<i8"), ("time", "<f8"), ("energy", "<f8"), ("temperature", "<f8"), ("cell", "<f8", (3, 3)),
             ("positions", "<f8", (n_atoms, 3))]
        )  # fmt: skip
        frames = np.empty(len(self), dtype=kind)
        with self.path.open("rb") as file:
            for index in range(len(self)):
                frames[index] = np.frombuffer(self._record(file, index), dtype=kind)[0]
        return {name: np.ascontiguousarray(frames[name]) for name in kind.names or ()}


def read_trajectory(path: str | Path) -> Trajectory:
    """Open a trajectory file: a sequence of ``Atoms``; see :class:`Trajectory`."""
    return Trajectory(path)
