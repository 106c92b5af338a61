"""What learning on substructures saved (DESIGN.md, definitions of L, R_AL and R_FPMD; Table 4 of the paper)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from idealflow.errors import InputError

__all__ = ["Acceleration", "acceleration"]


@dataclass(frozen=True)
class Acceleration:
    """How much less was computed than by two other ways; all None while no frame is labelled.

    Parameters
    ----------
    L
        Accepted substructures per labelled frame.
    R_AL
        t_entire / (t_sub·L): speed-up over conventional active learning, which labels the whole frame.
    R_FPMD
        K·t_entire / (K'·t_sub·L): speed-up over first-principles MD, which computes all K steps.

    Examples
    --------
    >>> Acceleration(L=2.0, R_AL=3.0, R_FPMD=300.0).R_AL
    3.0
    """

    L: float | None
    R_AL: float | None
    R_FPMD: float | None


def acceleration(
    *, t_sub: float, t_entire: float, n_steps: int, n_labelled_frames: int, n_substructures: int
) -> Acceleration:
    """Compute the speed-ups of learning on substructures from times and counts.

    Parameters
    ----------
    t_sub
        Mean time of one substructure's label, s.
    t_entire
        Time of one label of the whole frame, s, same engine and machine.
    n_steps
        K: MD steps made.
    n_labelled_frames
        K': distinct (walker, step) with at least one accepted label; bootstrap labels do not count.
    n_substructures
        Accepted substructures in all of them.

    Raises
    ------
    InputError
        If a time is not positive, a count is negative, or the counts contradict each other.

    Examples
    --------
    A label of a substructure takes 10 s and one of the whole frame 600 s; of 10 000 steps 50 frames were labelled, with two
    substructures each.

    >>> acceleration(t_sub=10, t_entire=600, n_steps=10_000, n_labelled_frames=50, n_substructures=100)
    Acceleration(L=2.0, R_AL=30.0, R_FPMD=6000.0)
    """
    for name, seconds in (("t_sub", t_sub), ("t_entire", t_entire)):
        if not (math.isfinite(seconds) and seconds > 0.0):
            raise InputError(f"`{name}` must be a positive time in seconds, got {seconds}; measure or estimate it")
    if n_steps < 0 or n_labelled_frames < 0 or n_substructures < n_labelled_frames:
        raise InputError(
            "every labelled frame has at least one accepted substructure and no count is negative, got "
            f"n_steps={n_steps}, n_labelled_frames={n_labelled_frames}, n_substructures={n_substructures}"
        )
    if n_labelled_frames == 0:
        return Acceleration(None, None, None)
    per_frame = n_substructures / n_labelled_frames
    over_learning = t_entire / (t_sub * per_frame)
    return Acceleration(per_frame, over_learning, n_steps / n_labelled_frames * over_learning)
