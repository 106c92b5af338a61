"""A trajectory as an append-only file of records of equal length: exact, readable after a crash, quick to read frame by frame.

Layout, little endian: magic (8 bytes), length of the header (uint64), header (JSON), the per-atom constants (numbers int64,
masses float64, fixed uint8: 1 for an atom that never moves, else the sum of 2, 4 and 8 for fixed x, y and z; where the header
says so, initial magnetic moments float64, μB), then one record per frame: step (int64), time in fs, potential energy in eV,
temperature in K (float64 each, NaN where undefined), cell (9 float64), positions (3·n_atoms float64), momenta (the same, in
ASE's units), checksum of the record (uint32, zlib.crc32) and 4 zero bytes. Positions are unwrapped and in double precision,
so that a frame that is read is the frame that was computed. If writing was interrupted, only the last, incomplete record is
lost. Files of the first version, whose magic ends in 01, have no momenta; they are read, and continued without them.

Two layouts are for large frames (:data:`FORMATS`): ``single`` has positions and momenta as float32, ``positions`` has no momenta
beside that. Their constants are compressed (zlib; the header has the length, and a record is filled up to 8 bytes with zeros).
What they lose is the precision of atoms: a float32 has 24 bits, so that a coordinate of 250 Å is good to 8e-6 Å; step, time,
energy, temperature and cell stay exact.
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

__all__ = ["AXIS_BITS", "FORMATS", "LAYOUTS", "MAGIC_LENGTH", "Layout", "Trajectory"]

_N_SCALARS = 13  # step, time, energy, temperature and the cell, 8 bytes each
_N_TAIL = 8
AXIS_BITS = np.array([2, 4, 8])
MAGIC_LENGTH = 8


@dataclass(frozen=True)
class Layout:
    """How the frames of a trajectory file are written.

    Attributes
    ----------
    magic
        First bytes of the file, which tell the layout.
    real
        Type of positions and momenta.
    momenta
        Whether there are momenta.
    packed
        Whether the per-atom constants are compressed.

    Examples
    --------
    >>> FORMATS["exact"].size(2), FORMATS["positions"].size(2)
    (208, 136)
    """

    magic: bytes
    real: str
    momenta: bool
    packed: bool = False

    def size(self, n_atoms: int) -> int:
        """Bytes of the record of a frame."""
        return 8 * _N_SCALARS + self.per_atom(n_atoms) + (-self.per_atom(n_atoms) % 8) + _N_TAIL

    def per_atom(self, n_atoms: int) -> int:
        """Bytes that a frame's atoms take of it."""
        return 3 * np.dtype(self.real).itemsize * n_atoms * (1 + self.momenta)


#: layouts by the name that a writer is given
FORMATS = {
    "exact": Layout(b"IDFTRJ02", "<f8", momenta=True),
    "single": Layout(b"IDFTRJ03", "<f4", momenta=True, packed=True),
    "positions": Layout(b"IDFTRJ04", "<f4", momenta=False, packed=True),
}
#: layouts by their magic, former ones too
LAYOUTS = {one.magic: one for one in (Layout(b"IDFTRJ01", "<f8", momenta=False), *FORMATS.values())}


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
    layout: Layout


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
        self._size = self.layout.size(len(self._constants.numbers))
        self._n_frames = max(0, self.path.stat().st_size - self._constants.offset) // self._size

    def _read_constants(self) -> _Constants:
        try:
            with self.path.open("rb") as file:
                if (layout := LAYOUTS.get(file.read(MAGIC_LENGTH))) is None:
                    raise ArtifactError(
                        f"{self.path} is not a trajectory of this or an earlier version; expected it to start with one of "
                        f"{', '.join(magic.decode() for magic in LAYOUTS)}"
                    )
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(length))
                n_atoms = header["n_atoms"]
                size = header["packed"] if layout.packed else n_atoms * (25 if header.get("moments") else 17)
                body = file.read(size)
                if layout.packed:
                    body = zlib.decompress(body)
                numbers = np.frombuffer(body, dtype="<i8", count=n_atoms).astype(np.int64)
                masses = np.frombuffer(body, dtype="<f8", count=n_atoms, offset=8 * n_atoms).astype(np.float64)
                code = np.frombuffer(body, dtype=np.uint8, count=n_atoms, offset=16 * n_atoms)
                moments = None
                if header.get("moments"):
                    moments = np.frombuffer(body, dtype="<f8", count=n_atoms, offset=17 * n_atoms).astype(np.float64)
        except (OSError, ValueError, KeyError, struct.error, zlib.error) as error:
            raise ArtifactError(
                f"{self.path} is missing, or cut within its header ({type(error).__name__}: {error})"
            ) from error
        fixed = (code[:, None] == 1) | (code[:, None] & AXIS_BITS).astype(bool)
        totals = {name: float(header[name]) for name in ("charge", "spin") if name in header}
        offset = MAGIC_LENGTH + 8 + length + size + (-size % 8)
        return _Constants(numbers, masses, fixed, moments, totals, header["pbc"], offset, header["key"], layout)

    @property
    def key(self) -> str:
        """What the file belongs to, as given to the writer."""
        return self._constants.key

    @property
    def layout(self) -> Layout:
        """How its frames are written."""
        return self._constants.layout

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
        known, n_atoms = self._constants, len(self._constants.numbers)
        cell = np.frombuffer(body, dtype="<f8", count=9, offset=32)
        per_atom = np.frombuffer(body, dtype=self.layout.real, offset=8 * _N_SCALARS).astype(np.float64)
        atoms = Atoms(
            numbers=known.numbers,
            positions=per_atom[: 3 * n_atoms].reshape(-1, 3),
            momenta=per_atom[3 * n_atoms : 6 * n_atoms].reshape(-1, 3) if self.layout.momenta else None,
            cell=cell.reshape(3, 3),
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
        per_atom, real = (len(self._constants.numbers), 3), self.layout.real
        fields: list[Any] = [("step", "<i8"), ("time", "<f8"), ("energy", "<f8"), ("temperature", "<f8")]
        fields += [("cell", "<f8", (3, 3)), ("positions", real, per_atom)]
        record = np.dtype([*fields, ("momenta", real, per_atom)] if self.layout.momenta else fields)
        frames = np.empty(len(self), dtype=record)
        with self.path.open("rb") as file:
            for index in range(len(self)):
                frames[index] = np.frombuffer(self._record(file, index), dtype=record, count=1)[0]
        found = {name: np.ascontiguousarray(frames[name]) for name in record.names or ()}
        return {name: array.astype(np.float64) if array.dtype == np.float32 else array for name, array in found.items()}
