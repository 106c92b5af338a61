"""What a segment screens: frames on its way, the last one, and the one before a blow-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from idealflow.core import ScreenedFrame, Uncertainty
from idealflow.core.dynamics import CheckOutcome, MDState, Schedule, SegmentResult
from idealflow.core.fixed_atoms import fixed_directions
from idealflow.schemas import Artifact, LearnerFiles, LearnerVersion, UnknownAtoms, WalkerState
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.encode import save_frame
from idealflow.workflow.frames.screened import save_screened
from idealflow.workflow.jobs.progress import Progress, emit

__all__ = ["Watch", "frame_to_screen", "passed_before", "stored_screen", "unknown_atoms"]


class Watch:
    """Screens frames for md_segment and reports progress.

    Parameters
    ----------
    uncertainty, threshold
        An atom whose uncertainty is higher, and not covered, stops the segment. With None for either nothing is screened.
    plan, walker
        The schedule's length and the walker's number, for reports.
    passed
        Step and highest uncertainty of a frame that was let pass before (:func:`passed_before`).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> from idealflow.core.dynamics import Stage
    >>> cells = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6, 3.7)]
    >>> uncertainty = UncertaintyModel.fit(cells, SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> watch = Watch(uncertainty, 10.0, Schedule([Stage("hold", 300.0, steps=100)]), walker=0, passed=None)
    >>> watch.check(bulk("Cu", a=3.6, cubic=True), step=10).stop, watch.check(bulk("Cu", a=2.5, cubic=True), step=20).stop
    (False, True)
    """

    def __init__(
        self,
        uncertainty: Uncertainty | None,
        threshold: float | None,
        plan: Schedule,
        walker: int,
        passed: tuple[int, float] | None,
    ) -> None:
        self.uncertainty = uncertainty
        self.passed = passed
        self.threshold = threshold
        self.plan = plan
        self.walker = walker
        self.latest: float | None = None

    def check(self, atoms: Atoms, step: int) -> CheckOutcome:
        """Stop at the first frame in which an uncovered atom is above the threshold."""
        if self.threshold is None or self.uncertainty is None:
            return CheckOutcome(stop=False)
        if self.passed is not None and step == self.passed[0]:
            self.latest = self.passed[1]
            return CheckOutcome(stop=False, max_uncertainty=self.latest)
        screened = ScreenedFrame.of(self.uncertainty, atoms, self.threshold, max_centres=1)
        self.latest = float(screened.values.max())
        return CheckOutcome(stop=bool(screened.triggering.any()), max_uncertainty=self.latest, data=screened)

    def on_step(self, row: Mapping[str, float]) -> None:
        """Report a row of the segment's log."""
        emit(
            Progress(
                "segment",
                walker=self.walker,
                step=int(row["step"]),
                n_steps=self.plan.n_steps,
                temperature=row["temperature"],
                uncertainty=self.latest,
                threshold=self.threshold,
            )
        )

    def finished(self, result: SegmentResult) -> SegmentResult:
        """Screen the schedule's last frame, too, if its step is no multiple of the check interval."""
        if result.reason != "schedule_end" or result.check is not None:
            return result
        outcome = self.check(result.state.atoms(), result.state.step)
        return replace(result, check=outcome, reason="triggered" if outcome.stop else "schedule_end")


def passed_before(
    walker: WalkerState, learner: LearnerVersion | LearnerFiles, threshold: float | None
) -> tuple[int, float] | None:
    """Step of a frame that this uncertainty and threshold have let pass already, and its highest uncertainty.

    Examples
    --------
    Under another threshold the last frame of a campaign would be screened again:

    >>> from idealflow.provenance import sample_campaign
    >>> state = sample_campaign().state()
    >>> passed_before(state.walkers[0], state.learner, state.threshold / 2) is None
    True
    """
    by = walker.screened
    if by is None or learner.uncertainty is None or by.threshold != threshold:
        return None
    return (walker.step, by.max_uncertainty) if by.uncertainty == learner.uncertainty.sha256 else None


def stored_screen(store: ArtifactStore, result: SegmentResult, threshold: float | None) -> Artifact | None:
    """Store what the last check found, for the screen of the same frame.

    Examples
    --------
    Nothing was found where nothing was screened:

    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.dynamics import Stage, md_segment
    >>> start, plan = MDState.initial(bulk("Cu", cubic=True), 300.0, seed=1), Schedule([Stage("hold", 300.0, steps=5)])
    >>> result = md_segment(EMT(), start, schedule=plan, check_interval=5)
    >>> stored_screen(ArtifactStore("artifacts"), result, threshold=None) is None
    True
    """
    if result.reason == "blow_up" or result.check is None or threshold is None:
        return None
    screened = result.check.data
    return save_screened(store, screened, threshold) if isinstance(screened, ScreenedFrame) else None


def unknown_atoms(uncertainty: Uncertainty, state: MDState, threshold: float, walker: int) -> UnknownAtoms | None:
    """What is new in the last frame of a segment of a campaign that does not learn; the user is told.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> cells = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6, 3.7)]
    >>> uncertainty = UncertaintyModel.fit(cells, SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> squeezed = MDState.initial(bulk("Cu", a=2.5, cubic=True), 300.0, seed=1)
    >>> found = unknown_atoms(uncertainty, squeezed, threshold=10.0, walker=0)
    >>> found.n_atoms, found.of
    (4, 4)
    """
    screened = ScreenedFrame.of(uncertainty, state.atoms(), threshold, max_centres=1)
    if not screened.triggering.any():
        return None
    found = UnknownAtoms(
        n_atoms=int(screened.triggering.sum()),
        of=state.n_atoms,
        max_uncertainty=float(screened.values.max()),
        threshold=threshold,
    )
    emit(Progress("segment", walker=walker, message=found.told(walker, state.step)))
    return found


def frame_to_screen(
    store: ArtifactStore, end: Artifact, result: SegmentResult, calculator: Calculator, n_before: int
) -> tuple[Artifact, int, int | None]:
    """Choose the frame to be screened, with its step: the last one, or after a blow-up one at the largest force since then.

    The frame before that force is the one in which something is new and nothing has happened yet; after every other blow-up in a
    row it is the frame with the force itself, which the reference may have, too. Returned is also the atom that had the force.

    Examples
    --------
    Nothing blew up:

    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.dynamics import Stage, md_segment
    >>> start, plan = MDState.initial(bulk("Cu", cubic=True), 300.0, seed=1), Schedule([Stage("hold", 300.0, steps=5)])
    >>> result = md_segment(EMT(), start, schedule=plan, check_interval=5)
    >>> end = Artifact(path="end.npz", sha256="0" * 64, size=0)
    >>> frame_to_screen(ArtifactStore("artifacts"), end, result, EMT(), n_before=0) == (end, 5, None)
    True
    """
    if result.reason != "blow_up" or not result.suspect_frames:
        return end, result.state.step, None
    free = ~fixed_directions(result.state.atoms())
    largest = []
    for atoms in result.suspect_frames:
        probe = atoms.copy()
        probe.calc = calculator
        largest.append(np.nan_to_num(np.linalg.norm(probe.get_forces() * free, axis=1), nan=np.inf))
    worst = int(np.argmax([forces.max() for forces in largest]))
    chosen = result.suspect_frames[max(0, worst - 1) if n_before % 2 == 0 else worst]
    return save_frame(store, chosen), int(chosen.info["step"]), int(largest[worst].argmax())
