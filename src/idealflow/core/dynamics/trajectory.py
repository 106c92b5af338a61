"""A trajectory as an append-only file of records of equal length: exact, readable after a crash, quick to read frame by frame.

Layout, little endian: magic (8 bytes), length of the header (uint64), header (JSON), the per-atom constants (numbers int64,
masses float64, fixed uint8: 1 for an atom that never moves, else the sum of 2, 4 and 8 for fixed x, y and z; where the header
says so, initial magnetic moments float64, μB), then one record per frame: step (int64), time in fs, potential energy in eV,
temperature in K (float64 each, NaN where undefined), cell (9 float64), positions (3·n_atoms float64), momenta (the same, in
ASE's units), checksum of the record (uint32, zlib.crc32) and 4 zero bytes. Positions are unwrapped and in double precision,
so that a frame that is read is the frame that was computed. If writing was interrupted, only the last, incomplete record is
lost. Files of the first version, whose magic ends in 01, have no momenta; they are read, and continued without them.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.fixed_atoms import set_fixed
from idealflow.errors import ArtifactError

__all__ = ["AXIS_BITS", "MAGIC", "VERSIONS", "Trajectory", "record_size"]

VERSIONS = {b"IDFTRJ01": False, b"IDFTRJ02": True}  # magic → whether records have momenta
MAGIC = b"IDFTRJ02"
_N_SCALARS = 13  # step, time, energy, temperature and the cell, 8 bytes each
_N_TAIL = 8
AXIS_BITS = np.array([2, 4, 8])


def record_size(n_atoms: int, momenta: bool) -> int:
    """Bytes of the record of a frame, with momenta or without.

    Examples
    --------
    >>> record_size(2, momenta=True)
    208
    """
    return 8 * _N_SCALARS + 24 * n_atoms * (1 + momenta) + _N_TAIL


@dataclass(frozen=True)
class _Constants:
    numbers: NDArray[np.int64]
    masses: NDArray[np.float64]
    fixed: NDArray[np.bool_]  # (n_atoms, 3)
    moments: NDArray[np.float64] | None
    totals: dict[str, float]
    pbc: list[bool]
    offset: int
    key: str
    magic: bytes


class Trajectory(Sequence[Atoms]):
    """Frames of a trajectory file, each read when it is asked for.

    ``len``, indices, slices and iteration work as for a list. Every frame is a new ``Atoms``, unwrapped, with the walker's
    masses, fixed atoms, moments, charge and spin, with momenta if the file has them, and with ``step``, ``time`` (fs),
    ``energy`` (eV) and ``temperature`` (K) in ``info``.

    Parameters
    ----------
    path
        File written by :class:`~idealflow.core.dynamics.trajectory_writer.TrajectoryWriter`, finished or not.

    Raises
    ------
    ArtifactError
        If the file is missing or not a trajectory; and when a frame is read whose checksum does not match.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.dynamics import MDState, Schedule, Stage, md_segment
    >>> start = MDState.initial(bulk("Cu", cubic=True), temperature=300.0, seed=0)
    >>> path = Path(tempfile.mkdtemp()) / "md.idf"
    >>> hold = Schedule([Stage("hold", 300.0, steps=10)])
    >>> result = md_segment(EMT(), start, schedule=hold, trajectory=path, trajectory_interval=5)
    >>> frames = Trajectory(path)
    >>> frames.steps().tolist(), frames[-1].info["step"], frames.arrays()["positions"].shape
    ([0, 5, 10], 10, (3, 4, 3))
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._constants = self._read_constants()
        self._momenta = VERSIONS[self._constants.magic]
        self._size = record_size(len(self._constants.numbers), self._momenta)
        self._n_frames = max(0, self.path.stat().st_size - self._constants.offset) // self._size

    def _read_constants(self) -> _Constants:
        try:
            with self.path.open("rb") as file:
                if (magic := file.read(len(MAGIC))) not in VERSIONS:
                    raise ArtifactError(
                        f"{self.path} is not a trajectory of this or an earlier version; expected it to start with {MAGIC!r}"
                    )
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(length))
                n_atoms = header["n_atoms"]
                size = n_atoms * (25 if header.get("moments") else 17)
                body = file.read(size)
                numbers = np.frombuffer(body, dtype="<i8", count=n_atoms).astype(np.int64)
                masses = np.frombuffer(body, dtype="<f8", count=n_atoms, offset=8 * n_atoms).astype(np.float64)
                code = np.frombuffer(body, dtype=np.uint8, count=n_atoms, offset=16 * n_atoms)
                moments = None
                if header.get("moments"):
                    moments = np.frombuffer(body, dtype="<f8", count=n_atoms, offset=17 * n_atoms).astype(np.float64)
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise ArtifactError(
                f"{self.path} is missing, or cut within its header ({type(error).__name__}: {error})"
            ) from error
        fixed = (code[:, None] == 1) | (code[:, None] & AXIS_BITS).astype(bool)
        totals = {name: float(header[name]) for name in ("charge", "spin") if name in header}
        offset = len(MAGIC) + 8 + length + size + (-size % 8)
        return _Constants(numbers, masses, fixed, moments, totals, header["pbc"], offset, header["key"], magic)

    @property
    def key(self) -> str:
        """What the file belongs to, as given to the writer."""
        return self._constants.key

    @property
    def magic(self) -> bytes:
        """First eight bytes of the file, which tell its version."""
        return self._constants.magic

    def __len__(self) -> int:
        return self._n_frames

    def steps(self) -> NDArray[np.int64]:
        """MD step of every frame, (n,), without reading the frames."""
        found = np.empty(len(self), dtype=np.int64)
        with self.path.open("rb") as file:
            for index in range(len(self)):
                file.seek(self._constants.offset + index * self._size)
                (found[index],) = struct.unpack("<q", file.read(8))
        return found

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
        known, n_atoms = self._constants, len(self._constants.numbers)
        atoms = Atoms(
            numbers=known.numbers,
            positions=numbers[9 : 9 + 3 * n_atoms].reshape(-1, 3),
            momenta=numbers[9 + 3 * n_atoms :].reshape(-1, 3) if self._momenta else None,
            cell=numbers[:9].reshape(3, 3),
            pbc=known.pbc,
            masses=known.masses,
            info={"step": step, "time": time, "energy": energy, "temperature": temperature, **known.totals},
        )
        if known.moments is not None:
            atoms.set_initial_magnetic_moments(known.moments)
        set_fixed(atoms, known.fixed)
        return atoms

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Read the whole trajectory into arrays, for analysis.

        Returns
        -------
        dict
            ``step`` (n,), ``time`` (n,) fs, ``energy`` (n,) eV, ``temperature`` (n,) K, ``cell`` (n, 3, 3) Å,
            ``positions`` (n, n_atoms, 3) Å, and where the file has them ``momenta`` (n, n_atoms, 3), ASE's units.
        """
        per_atom = (len(self._constants.numbers), 3)
        fields: list[Any] = [("step", "<i8"), ("time", "<f8"), ("energy", "<f8"), ("temperature", "<f8")]
        fields += [("cell", "<f8", (3, 3)), ("positions", "<f8", per_atom)]
        record = np.dtype([*fields, ("momenta", "<f8", per_atom)] if self._momenta else fields)
        frames = np.empty(len(self), dtype=record)
        with self.path.open("rb") as file:
            for index in range(len(self)):
                frames[index] = np.frombuffer(self._record(file, index), dtype=record)[0]
        return {name: np.ascontiguousarray(frames[name]) for name in record.names or ()}
