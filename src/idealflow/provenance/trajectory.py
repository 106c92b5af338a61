"""A walker's whole trajectory, from the files of its segments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

from ase import Atoms

__all__ = ["WalkerTrajectory"]


class WalkerTrajectory(Sequence[Atoms]):
    """Stored frames of one walker in order of step, each read when asked for.

    A step that was run again (after a blow-up, or because its frame triggered) appears once, as it was run last. A frame
    is an ``Atoms`` (unwrapped) with velocities, masses and constraints, and ``step``, ``time_fs``, ``temperature`` (K) and
    ``energy`` (of the model, eV) in ``info``. Trajectories stored before version 0.1 kept velocities have none.

    Parameters
    ----------
    files
        Trajectory files of the walker's segments, in the order in which they were run.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> frames = campaign.trajectory(walker=0)
    >>> [atoms.info["time_fs"] for atoms in frames[:3]]
    [0.0, 10.0, 20.0]
    """

    def __init__(self, files: Iterable[Path]) -> None:
        from idealflow.core import Trajectory  # with numba, which takes a second to import

        self._files = [Trajectory(path) for path in files]
        found = {
            int(step): (number, frame)
            for number, file in enumerate(self._files)
            for frame, step in enumerate(file.steps())
        }
        self._places = [found[step] for step in sorted(found)]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Atoms: ...
    @overload
    def __getitem__(self, index: slice) -> list[Atoms]: ...
    def __getitem__(self, index: int | slice) -> Atoms | list[Atoms]:
        if isinstance(index, slice):
            return [self._read(place) for place in self._places[index]]
        return self._read(self._places[index])

    def __iter__(self) -> Iterator[Atoms]:
        return map(self._read, self._places)

    def _read(self, place: tuple[int, int]) -> Atoms:
        number, frame = place
        atoms = self._files[number][frame]
        atoms.info["time_fs"] = atoms.info.pop("time")
        return atoms
