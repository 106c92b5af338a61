"""A walker's trajectory for other programs, each frame with what the model that moved it knew of its atoms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core import Trajectory, Uncertainty, load_uncertainty
from idealflow.core.extxyz import frame_text
from idealflow.core.fixed_atoms import fixed_directions
from idealflow.errors import ArtifactError, InputError
from idealflow.exports.dump import dump_text
from idealflow.provenance import Campaign
from idealflow.schemas import SegmentDoc
from idealflow.settings import Settings

__all__ = ["TRAJECTORY_FORMATS", "MovedFrame", "moved_frames"]


@dataclass(frozen=True, eq=False)
class MovedFrame:
    """A frame, and what was known of its atoms.

    Attributes
    ----------
    atoms
        Unwrapped, with velocities and constraints; ``info`` has step, time_fs, temperature (K) and the model's energy (eV).
    model_version
        The model that moved the walker to this frame.
    columns
        For each atom ``learned``: 1 if it is the centre of an accepted label that was asked for at this frame. And unless left
        out, by the model that moved it: ``uncertainty`` (normalised, 1 is the in-distribution mean), ``covered``: 1 if what was
        learned covers it, so that it does not trigger.

    Examples
    --------
    >>> from ase.build import bulk
    >>> frame = MovedFrame(bulk("Cu"), 3, {"learned": np.array([0])})
    >>> frame.model_version, sorted(frame.columns)
    (3, ['learned'])
    """

    atoms: Atoms
    model_version: int
    columns: dict[str, NDArray[Any]]


def moved_frames(
    campaign: Campaign, walker: int = 0, every: int = 1, *, uncertain: bool = True
) -> Iterator[MovedFrame]:
    """Iterate over the stored frames of one walker in order of step.

    The model that moved a frame is that of the segment that led to it; where a frame triggered and the model learned, the next
    segment begins at the same step with the next model, but did not move it.

    Parameters
    ----------
    campaign
        The campaign.
    walker
        Number of the walker, from 0.
    every
        Take every so many-th stored frame, from the first.
    uncertain
        Whether to compute uncertainty and coverage with the stored models.

    Raises
    ------
    InputError
        If there is no such walker, it has no frames, or the file of a model's uncertainty is gone.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> for frame in moved_frames(sample_campaign(), every=3, uncertain=False):
    ...     print(frame.atoms.info["step"], frame.model_version, int(frame.columns["learned"].sum()))
    0 0 0
    15 0 0
    30 0 0
    45 1 0
    60 3 1
    """
    campaign.trajectory(walker)  # refuses a walker that there is not
    segments = [doc for doc in campaign.segments(walker=walker) if doc.trajectory is not None]
    if not segments:
        raise InputError(f"walker {walker} of campaign {campaign.name} has no stored frames yet; let it run a round")
    tracks = [Trajectory(campaign.fetch(doc.trajectory)) for doc in segments if doc.trajectory is not None]
    places = _places(segments, tracks)
    learned: dict[int, list[int]] = {}
    for doc in campaign.substructures(walker=walker, state="accepted"):
        learned.setdefault(doc.step, []).append(doc.atom)
    models = _Models(campaign) if uncertain else None
    for step in sorted(places)[::every]:
        number, index = places[step]
        atoms = tracks[number][index]
        atoms.info["time_fs"] = atoms.info.pop("time")
        version = segments[number].model_version
        columns = {} if models is None else models.columns(version, atoms)
        columns["learned"] = np.isin(np.arange(len(atoms)), learned.get(step, [])).astype(int)
        yield MovedFrame(atoms, version, columns)


def _places(segments: list[SegmentDoc], tracks: list[Trajectory]) -> dict[int, tuple[int, int]]:
    """Step → segment that moved the walker there, as it was run last, and number of the frame in its file."""
    found: dict[int, tuple[int, int]] = {}
    for number, (segment, track) in enumerate(zip(segments, tracks, strict=True)):
        for index, step in enumerate(track.steps()):
            if int(step) > segment.first_step or int(step) not in found:
                found[int(step)] = (number, index)
    return found


class _Models:
    """The uncertainties of a campaign's model versions, of which the last is kept loaded."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._learners = campaign.learners()
        state = campaign.state()
        self._threshold = None if state is None else state.threshold
        self._last: tuple[int, Uncertainty] | None = None

    def columns(self, version: int, atoms: Atoms) -> dict[str, NDArray[Any]]:
        if self._last is None or self._last[0] != version:
            try:
                path = self._campaign.fetch(self._learners[version].uncertainty)
            except ArtifactError as error:
                raise InputError(
                    f"the uncertainty of model {version} is not among the campaign's files ({error}); give --no-uncertainty for "
                    "the frames alone"
                ) from error
            self._last = (version, load_uncertainty(path, Settings().uncertainty_device))
        uncertainty = self._last[1]
        values = {"uncertainty": np.asarray(uncertainty(atoms))}
        if self._threshold is None:
            return values
        return values | {"covered": np.asarray(uncertainty.covered(atoms, self._threshold)).astype(int)}


def _extxyz(path: Path, frames: Iterator[MovedFrame], walker: int) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for frame in frames:
            atoms = frame.atoms
            info = {name: atoms.info[name] for name in ("step", "time_fs", "temperature") if name in atoms.info}
            info |= {"model_energy": atoms.info.get("energy"), "model_version": frame.model_version, "walker": walker}
            columns: dict[str, Any] = {"momenta": atoms.get_momenta()} if atoms.has("momenta") else {}
            if (fixed := fixed_directions(atoms)).any():
                columns["move_mask"] = ~fixed
            file.write(frame_text(atoms, info, columns | frame.columns))
            count += 1
    return count


def _traj(path: Path, frames: Iterator[MovedFrame], walker: int) -> int:
    from ase.io.trajectory import TrajectoryWriter

    count = 0
    with TrajectoryWriter(path) as writer:
        for frame in frames:
            atoms = frame.atoms
            atoms.info |= frame.columns | {"model_version": frame.model_version, "walker": walker}
            # what ASE's viewer can colour by
            atoms.set_tags(frame.columns.get("covered", 0) + 2 * frame.columns["learned"])
            writer.write(atoms)
            count += 1
    return count


def _dump(path: Path, frames: Iterator[MovedFrame], walker: int) -> int:  # noqa: ARG001  # a dump has no place for it
    count = 0
    species: list[str] = []
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for frame in frames:
            species = species or sorted(set(frame.atoms.get_chemical_symbols()))
            file.write(dump_text(frame.atoms, int(frame.atoms.info["step"]), species, frame.columns))
            count += 1
    return count


TRAJECTORY_FORMATS: dict[str, Callable[[Path, Iterator[MovedFrame], int], int]] = {
    "extxyz": _extxyz,
    "traj": _traj,
    "lammps-dump": _dump,
}
"""Format → function that writes frames of a walker to a file, and returns how many there were."""
