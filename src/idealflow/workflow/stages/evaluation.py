"""After the run: the first and the last model compared with the reference on whole frames of the trajectory."""

from __future__ import annotations

import io
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from jobflow import Flow, JobStore, Maker, OnMissing, Response
from pydantic import Field

from idealflow.core.dynamics import Schedule
from idealflow.former_names import formerly
from idealflow.provenance import Campaign, WalkerTrajectory
from idealflow.schemas import EvaluationDoc, FrameErrors, LabelledDoc, LearnerVersion, StageContext, StoredFrame
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.encode import labelled_atoms, save_frame
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.job_store import current_store
from idealflow.workflow.jobs.keys import generator
from idealflow.workflow.jobs.stage import artifact_store, named, stage, stamp, work_directory
from idealflow.workflow.learner.version import load_force_field_artifact
from idealflow.workflow.stages.awaited import refuse_awaited
from idealflow.workflow.stages.label import LabelMaker

__all__ = ["EvaluationMaker", "evenly"]

_PARITY_COMPONENTS = 20_000


@formerly("category")
@dataclass
class EvaluationMaker(StableName, Maker):
    """Label whole frames and compare the first and the last model with them.

    Attributes
    ----------
    n_frames
        Whole frames, spread evenly over the trajectories of all walkers; 0 switches the evaluation off.

    Examples
    --------
    The comparison, with labels of two frames that the sample campaign has stored:

    >>> from jobflow import run_locally
    >>> from idealflow.provenance import sample_campaign
    >>> from idealflow.workflow.folder.directory import CampaignDirectory
    >>> campaign = sample_campaign()
    >>> folder, learner = CampaignDirectory(campaign.folder.path), campaign.state().learner
    >>> context = StageContext(campaign="tiny", round=8, seed=1, artifacts=folder.artifacts, work="work")
    >>> schedule = {"stages": [{"kind": "hold", "temperature": 300, "steps": 60}]}
    >>> compare = EvaluationMaker().compare(context, schedule, learner, learner, [(0, 10), (0, 30)], "EMT")
    >>> doc = run_locally(compare, store=folder.job_store(), log=False)[compare.uuid][1].output
    >>> doc.last_version, [frame.step for frame in doc.frames], doc.frames[0].force_mae_last < 0.1
    (4, [10, 30], True)
    """

    n_frames: Annotated[int, Field(ge=0)] = 0
    name: str = "evaluation"

    @stage()
    def make(
        self,
        context: StageContext,
        label: LabelMaker,
        schedule: Schedule,
        first: LearnerVersion,
        last: LearnerVersion,
        asked: bool = False,
    ) -> Response:
        """Draw frames and return a flow that labels each and compares; the comparison's output is an EvaluationDoc.

        ``asked`` is True if a user asked for the comparison by hand; its jobs then have other uuids than the campaign's own.
        """
        jobs = []
        store = artifact_store(context)
        own = (
            [zlib.crc32(label.key.encode())] if asked else []
        )  # the campaign itself compares once a round, whatever the labeller
        frames = _drawn(current_store(), store, context.campaign, self.n_frames)
        for walker, step, atoms in frames:
            request = _request(context.campaign, walker, step)
            frame = StoredFrame(root=context.artifacts, file=save_frame(store, atoms))
            new = label.make(context, frame, request=request, origin="evaluation")
            jobs.append(named(new, context, "evaluation-label", walker, step, *own))
        points = [[walker, step] for walker, step, _ in frames]
        temperatures = [float(atoms.info["temperature"]) for *_, atoms in frames]
        outputs = [new.output for new in jobs]
        labels = [new.uuid for new in jobs]
        compare = self.compare(
            context, schedule.to_dict(), first, last, points, label.method, outputs, temperatures, labels
        )
        # a comparison asked for earlier in the same round may have had fewer frames to draw from
        parts = [self.n_frames, *own, zlib.crc32(str(points).encode())] if asked else []
        jobs.append(named(compare, context, "evaluation-compare", *parts, missing=OnMissing.NONE))
        return Response(detour=Flow(jobs, name=self.name))

    @stage(output_schema=EvaluationDoc)
    def compare(
        self,
        context: StageContext,
        schedule: Schedule,
        first: LearnerVersion,
        last: LearnerVersion,
        points: Sequence[tuple[int, int]],
        method: str,
        waits_for: Sequence[object] = (),  # noqa: ARG002  # references that order the jobs
        temperatures: Sequence[float] = (),
        labels: Sequence[str] = (),
    ) -> EvaluationDoc:
        """Compute the errors of both models on every labelled frame.

        Parameters
        ----------
        points
            (walker, step) of every frame.
        temperatures
            Temperatures that the frames had, K; none in jobs of earlier versions.
        labels
            Jobs that labelled the frames, in the order of ``points``; none in jobs of earlier versions.

        Raises
        ------
        LabelsAwaitedError
            If some of the labels are computed elsewhere and not brought back yet.
        """
        store = artifact_store(context)
        calculators = [load_force_field_artifact(store, learner).calculator() for learner in (first, last)]
        frames, failed, parity, seconds = [], {}, _Parity(generator(context.seed, 7)), []
        had: Sequence[float | None] = temperatures or [None] * len(points)
        made: Sequence[str | None] = labels or [None] * len(points)
        docs: list[LabelledDoc | None] = []
        for (walker, step), uuid in zip(points, made, strict=True):
            # a frame may have been labelled in several rounds, and by several labellers
            request = {"output.request_key": _request(context.campaign, walker, step)}
            query = request if uuid is None else {"uuid": uuid}
            found = current_store().query_one(query, properties=["output"], load=True)
            doc = LabelledDoc.model_validate(found["output"]) if found else None
            docs.append(doc)
        refuse_awaited(doc for doc in docs if doc is not None)
        for (walker, step), temperature, doc in zip(points, had, docs, strict=True):
            if doc is None or doc.state == "failed":
                failed[f"walker {walker} step {step}"] = (doc.cause if doc else None) or "the label left no document"
                continue
            atoms = labelled_atoms(doc)
            predictions = [_predicted(calculator, atoms) for calculator in calculators]
            frames.append(_errors(walker, step, schedule, temperature, atoms, predictions))
            parity.add(atoms, predictions)
            seconds.append(doc.seconds)
        directory = work_directory(context, "parity", fresh=True)
        stored = store.put_file(parity.save(directory), suffix=".npz")
        shutil.rmtree(directory)
        return EvaluationDoc(
            method=method,
            first_version=first.version,
            last_version=last.version,
            frames=frames,
            failed=failed,
            parity=stored,
            t_entire_s=float(np.mean(seconds)) if seconds else None,
            **stamp(),
        )


def evenly(n_frames: int, of: int) -> list[int]:
    """Numbers of frames from the middles of equal parts: all of them where there are no more.

    Examples
    --------
    >>> evenly(3, of=60), evenly(3, of=2)
    ([10, 30, 50], [0, 1])
    """
    n_drawn = min(n_frames, of)
    return [int(number) for number in (np.arange(n_drawn) + 0.5) * of / max(n_drawn, 1)]


class _Parity:
    """Collects what a parity plot shows: energies per atom and a bounded random draw of force components."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._energies: list[list[float]] = []
        self._forces: list[np.ndarray] = []

    def add(self, atoms: Atoms, predictions: Sequence[tuple[float, np.ndarray]]) -> None:
        """Add one frame: reference, first and last model."""
        n = len(atoms)
        values = [(atoms.calc.results["energy"], atoms.calc.results["forces"]), *predictions]
        self._energies.append([energy / n for energy, _ in values])
        self._forces.append(np.stack([forces.ravel() for _, forces in values], axis=1))

    def save(self, directory: Path) -> Path:
        """Write the npz; of many force components a random selection is kept, as many as a figure can show."""
        forces = np.concatenate(self._forces) if self._forces else np.zeros((0, 3))
        if len(forces) > _PARITY_COMPONENTS:
            forces = forces[np.sort(self._rng.choice(len(forces), _PARITY_COMPONENTS, replace=False))]
        buffer = io.BytesIO()
        np.savez(buffer, energies=np.asarray(self._energies).reshape(-1, 3), forces=forces)
        path = directory / "parity.npz"
        path.write_bytes(buffer.getvalue())
        return path


def _request(campaign: str, walker: int, step: int) -> str:
    return f"{campaign}/evaluation/w{walker:04d}/s{step:012d}"


def _predicted(calculator: Calculator, atoms: Atoms) -> tuple[float, np.ndarray]:
    copy = atoms.copy()
    copy.calc = calculator
    return float(copy.get_potential_energy()), copy.get_forces()


def _errors(
    walker: int,
    step: int,
    schedule: Schedule,
    temperature: float | None,
    atoms: Atoms,
    predictions: Sequence[tuple[float, np.ndarray]],
) -> FrameErrors:
    reference = atoms.calc.results["forces"]
    (energy_first, forces_first), (energy_last, forces_last) = predictions
    return FrameErrors(
        walker=walker,
        step=step,
        stage=schedule.stage(step),
        temperature=schedule.temperature(step),
        temperature_md=temperature,
        n_atoms=len(atoms),
        energy_reference=float(atoms.calc.results["energy"]),
        energy_first=energy_first,
        energy_last=energy_last,
        force_mae_first=float(np.abs(forces_first - reference).mean()),
        force_mae_last=float(np.abs(forces_last - reference).mean()),
        force_rms_reference=float(np.sqrt((reference**2).mean())),
    )


def _drawn(store: JobStore, artifacts: ArtifactStore, campaign: str, n_frames: int) -> list[tuple[int, int, Atoms]]:
    """Draw frames from the middle of equal parts of all stored trajectories: (walker, step, atoms).

    A single frame is thus the middle of the run, and not its first step, where the forces of a crystal vanish.
    """
    segments = [segment for segment in Campaign(store, campaign).segments() if segment.trajectory is not None]
    tracks = {
        walker: WalkerTrajectory(
            artifacts.get(segment.trajectory)
            for segment in segments
            if segment.walker == walker and segment.trajectory is not None
        )
        for walker in sorted({segment.walker for segment in segments})
    }
    points = [(walker, frame) for walker, track in tracks.items() for frame in range(len(track))]
    drawn = []
    for walker, frame in (points[i] for i in evenly(n_frames, len(points))):
        atoms = tracks[walker][frame]
        drawn.append((walker, int(atoms.info["step"]), atoms))
    return drawn
