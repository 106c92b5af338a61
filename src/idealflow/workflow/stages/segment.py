"""Stage 1: molecular dynamics of one walker until a frame needs labels, or the segment ends."""

from __future__ import annotations

import gc
import shutil
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

from ase import Atoms, units
from jobflow import Maker
from pydantic import Field

from idealflow.core.dynamics import (
    Checkpoint,
    Limits,
    MDState,
    Sampler,
    Schedule,
    SegmentChecks,
    SegmentEnds,
    SegmentFiles,
    get_sampler,
    md_segment,
)
from idealflow.core.fixed_atoms import fixed_directions, set_fixed
from idealflow.errors import InputError, OtherSegmentError
from idealflow.former_names import formerly
from idealflow.schemas import (
    LearnerFiles,
    LearnerVersion,
    SegmentDoc,
    StageContext,
    WalkerState,
)
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.progress import Progress, emit
from idealflow.workflow.jobs.stage import artifact_store, current_uuid, stage, stamp, work_directory
from idealflow.workflow.learner.version import load_force_field_artifact, load_uncertainty_artifact
from idealflow.workflow.stages import alone
from idealflow.workflow.stages.segment_screens import (
    Watch,
    frame_to_screen,
    passed_before,
    stored_screen,
    unknown_atoms,
)

__all__ = ["MDSegmentMaker"]

#: atoms from which a frame is large
_LARGE = 100_000
_ABOVE_LABELS = 1.5  # times the largest force that a label had, before a force counts as unphysical
_REACTION = 10.0  # eV that an atom may have beside what is thermal: more than a bond that forms releases
_ORDINARY = 15.0  # kT; one atom of a million has it in every frame
_THERMAL = 30.0  # kT; by chance one atom of a million has it once in 10⁶ independent frames

_COLUMNS = ("step", "time_fs", "temperature", "target", "potential_energy", "max_uncertainty", "volume", "pressure")


@formerly("category", wall_time_s="time_limit_s")
@dataclass
class MDSegmentMaker(StableName, Maker):
    """Run MD of one walker, and screen its frames as it goes.

    Attributes
    ----------
    schedule
        Temperature schedule: stages with ``kind`` (``hold`` or ``ramp``), ``temperature`` (K), ``to`` (K, ramps), ``steps``.
    sampler
        Registered sampler with its settings, e.g. ``{"name": "langevin", "timestep": 2.0, "friction": 0.01}`` (fs, 1/fs).
    check_interval
        Steps between screened frames.
    segment_steps
        Steps after which a segment ends and is stored; a multiple of ``check_interval``.
    trajectory_interval
        Steps between stored frames; default: ``check_interval``.
    trajectory_format
        ``exact``, or ``single`` (positions and velocities rounded to single precision) or ``positions`` (the same without
        velocities): 48, 24 and 12 bytes per atom and frame. Dynamics goes on from its exact state, whatever is stored; an
        evaluation compares models on the frames as they are stored.
    start_temperature
        Temperature of the first velocities, K; default: the schedule's first. It is used at step 0 only.
    fixed_atoms
        Indices of atoms that never move, in addition to those that the structure fixes.
    max_force, max_temperature
        Limits (eV/Å, K) beyond which the segment counts as blown up. Where labels of the run had larger forces on atoms that
        stand as in its frames, the reference itself goes there: then the first is 1.5 times the largest of these.
    max_kinetic_energy
        Limit for a single atom, eV. None: 10 eV, more than reactions release, and 30 times the thermal energy of the schedule's
        hottest stage. A cascade needs a higher one.
    time_limit_s
        Seconds after which a segment ends at its next check. It changes no result, since the next segment resumes exactly.

    Examples
    --------
    Alone, from step 0, with a force field as an object or the file that its ``save`` wrote:

    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from jobflow import run_locally
    >>> from idealflow import MDSegmentMaker
    >>> from idealflow.forcefields import get_force_field
    >>> cells = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6, 3.7)]  # labelled with EMT
    >>> for cell in cells:
    ...     cell.calc = EMT()
    ...     forces = cell.get_forces()
    >>> force_field = get_force_field("local", species=["Cu"], cutoff=4.0, hidden=[8])
    >>> report = force_field.fit(cells, steps=20)
    >>> plan = [{"kind": "hold", "temperature": 300, "steps": 10}]
    >>> job = MDSegmentMaker(schedule=plan, segment_steps=10).make(bulk("Cu", cubic=True) * 2, force_field)
    >>> run_locally(job, log=False)[job.uuid][1].output.last_step
    10
    """

    schedule: list[dict[str, Any]] = field(
        default_factory=lambda: [{"kind": "hold", "temperature": 300.0, "steps": 1000}]
    )
    sampler: dict[str, Any] = field(default_factory=lambda: {"name": "langevin"})
    check_interval: Annotated[int, Field(ge=1)] = 10
    segment_steps: Annotated[int, Field(ge=1)] = 500
    trajectory_interval: Annotated[int, Field(ge=1)] | None = None
    trajectory_format: Literal["exact", "single", "positions"] = "exact"
    start_temperature: Annotated[float, Field(ge=0)] | None = None
    fixed_atoms: list[int] = field(default_factory=list)
    max_force: Annotated[float, Field(gt=0)] = 100.0
    max_temperature: Annotated[float, Field(gt=0)] = 20_000.0
    max_kinetic_energy: Annotated[float, Field(gt=0)] | None = None
    time_limit_s: Annotated[float, Field(gt=0)] | None = None
    name: str = "MD segment"

    def __post_init__(self) -> None:
        """Refuse impossible settings before any compute."""
        hottest = self._hottest()
        if hottest >= self.max_temperature:
            raise InputError(
                f"max_temperature = {self.max_temperature:g} K, beyond which a segment counts as blown up, must exceed the "
                f"schedule's highest temperature, {hottest:g} K; raise it, or lower the temperature"
            )
        if self.max_kinetic_energy is not None and self.max_kinetic_energy < _ORDINARY * units.kB * hottest:
            raise InputError(
                f"max_kinetic_energy = {self.max_kinetic_energy:g} eV, beyond which a segment counts as blown up, is what atoms "
                f"have by chance at the schedule's highest temperature, {hottest:g} K; take at least "
                f"{_ORDINARY * units.kB * hottest:.2g} eV, or leave it out"
            )
        self.dynamics()
        if self.segment_steps % self.check_interval:
            raise InputError(
                f"segment_steps must be a multiple of check_interval, got {self.segment_steps} and "
                f"{self.check_interval}; e.g. {self.check_interval * max(1, self.segment_steps // self.check_interval)}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the MSON form; what earlier versions did not know is left out at its default: hashes equal those without it."""
        found = super().as_dict()
        if found["trajectory_format"] == "exact":
            del found["trajectory_format"]
        if found["max_kinetic_energy"] is None:
            del found["max_kinetic_energy"]
        return found

    def _hottest(self) -> float:
        return max(self.plan().max_temperature, self.start_temperature or 0.0)

    def plan(self) -> Schedule:
        """The temperature schedule."""
        unknown = [key for entry in self.schedule for key in entry if key not in ("kind", "temperature", "to", "steps")]
        if unknown:
            raise InputError(f"unknown key {unknown[0]!r} in a schedule stage; it has kind, temperature, to, steps")
        missing = [name for entry in self.schedule for name in ("kind", "temperature", "steps") if name not in entry]
        if missing:
            raise InputError(f"a schedule stage needs kind, temperature and steps (ramps: to), {missing[0]} is missing")
        return Schedule.from_dict({"stages": self.schedule})

    def dynamics(self) -> Sampler:
        """The sampler."""
        if "name" not in self.sampler:
            raise InputError(f"sampler needs a name, got {self.sampler}; e.g. {{name: langevin, timestep: 1.0}}")
        return get_sampler(**self.sampler)

    def initial_state(self, atoms: Atoms, seed: int) -> MDState:
        """Make the state at step 0: velocities drawn from the seed, ``fixed_atoms`` and those of the structure fixed."""
        if self.fixed_atoms:
            outside = [i for i in self.fixed_atoms if not 0 <= i < len(atoms)]
            if outside:
                raise InputError(
                    f"segment.fixed_atoms must be indices of the {len(atoms)} atoms, 0 to {len(atoms) - 1}, got {outside[0]}"
                )
            fixed = fixed_directions(atoms)
            fixed[self.fixed_atoms] = True
            atoms = atoms.copy()
            set_fixed(atoms, fixed)
        start = self.plan().temperature(0) if self.start_temperature is None else self.start_temperature
        state = MDState.initial(atoms, start, seed)
        self.dynamics().check(state)
        return state

    def _limits(self, learner: LearnerVersion | LearnerFiles) -> Limits:
        """What no frame exceeds that has not blown up."""
        labelled = learner.largest_force if isinstance(learner, LearnerVersion) else 0.0
        fastest = self.max_kinetic_energy
        if fastest is None:
            fastest = _REACTION + _THERMAL * units.kB * self._hottest()
        return Limits(max(self.max_force, _ABOVE_LABELS * labelled), self.max_temperature, fastest)

    @stage(output_schema=SegmentDoc, alone=alone.segment)
    def make(
        self,
        context: StageContext,
        walker: WalkerState,
        learner: LearnerVersion | LearnerFiles,
        threshold: float | None,
        watched: float | None = None,
    ) -> SegmentDoc:
        """Run one segment; with ``threshold=None`` nothing is screened, and MD runs on as with any force field.

        With ``watched`` in its place, a threshold too, the last frame is looked at: what is new in it is told and stored, and
        changes nothing.
        """
        store = artifact_store(context)
        directory = work_directory(context, "segment")
        state = MDState.load(store.get(walker.md_state))
        if state.n_atoms >= _LARGE:
            gc.collect()  # ASE's calculators refer to themselves: a former segment's still holds its list of neighbours
        plan = self.plan()
        calculator = load_force_field_artifact(store, learner).calculator()
        uncertainty = None if learner.uncertainty is None else load_uncertainty_artifact(store, learner)
        watch = Watch(uncertainty, threshold, plan, walker.walker, passed_before(walker, learner, threshold))
        trajectory = directory / "trajectory.idf"
        run = partial(
            md_segment,
            calculator,
            state,
            schedule=plan,
            sampler=self.dynamics(),
            ends=SegmentEnds(
                stop_step=(state.step // self.segment_steps + 1) * self.segment_steps,
                time_limit_s=self.time_limit_s,
                limits=self._limits(learner),
            ),
            checks=SegmentChecks(
                check=watch.check,
                check_interval=self.check_interval,
                check_first=walker.unresolved,
                on_step=watch.on_step,
            ),
            files=SegmentFiles(
                trajectory=trajectory,
                trajectory_interval=self.trajectory_interval,
                trajectory_format=self.trajectory_format,
                checkpoint=Checkpoint(
                    directory / "checkpoint.npz",
                    interval=saved_every(state.n_atoms, self.check_interval),
                    key=f"{learner.version}/{threshold}",
                ),
            ),
        )

        try:
            result = run()
        except OtherSegmentError:  # the checkpoint of an interrupted run has other settings
            emit(
                Progress(
                    "segment",
                    walker=walker.walker,
                    message=f"walker {walker.walker}: what an interrupted run began after step {state.step} had other settings "
                    "(schedule, threshold, intervals, limits); it is dropped, and the segment begins anew",
                )
            )
            directory = work_directory(context, "segment", fresh=True)
            result = run()
        result = watch.finished(result)
        end_state = result.state.save(directory / "end.npz")

        unknown = None
        if threshold is None and watched is not None and uncertainty is not None:
            unknown = unknown_atoms(uncertainty, result.state, watched, walker.walker)

        end = store.put_file(end_state, suffix=".npz")
        n_before = walker.n_blow_ups if walker.blow_up_step == result.state.step else 0
        frame, frame_step, pulled = frame_to_screen(store, end, result, calculator, n_before)
        doc = SegmentDoc(
            uuid=current_uuid(),
            walker=walker.walker,
            model_version=learner.version,
            first_step=state.step,
            last_step=result.state.step,
            reason=result.reason,
            detail=result.detail,
            start_state=walker.md_state,
            end_state=end,
            frame=frame,
            frame_step=frame_step,
            pulled=pulled,
            screened=stored_screen(store, result, threshold),
            trajectory=store.put_file(trajectory, suffix=".idf") if result.n_frames else None,
            unknown=unknown,
            log={name: [float(row[name]) for row in result.log] for name in _COLUMNS},
            **stamp(),
        )
        shutil.rmtree(directory)
        return doc


def saved_every(n_atoms: int, check_interval: int) -> int | None:
    """Steps after which a segment saves itself: a large frame's steps take so long that it does at every check; None: as usual.

    Examples
    --------
    >>> saved_every(1_000_000, check_interval=5), saved_every(500, check_interval=5)
    (5, None)
    """
    return check_interval if n_atoms >= _LARGE else None
