"""A small L-BFGS minimiser that counts evaluations, bounds its steps, and can be stopped by the caller.

It is made for functions with a few stiff directions among many soft ones: the penalties of a relaxation are a hundred times
stiffer than the uncertainty. What a step ran into that was refused is remembered like a step that was taken, so that the next one
goes around it; and where nothing is remembered the function counts as being as soft as the softest of what is. With the last
step's curvature in its place, which may be a penalty's, and without the refused points, the relaxations of an iridium particle in
gas needed three to six times as many evaluations.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["minimise"]

Floats = NDArray[np.float64]

SUFFICIENT_DECREASE = 1e-4
BACKTRACKS = 12
#: nine steps that lower the value by less than this part of it are the end
STALLED = 0.02


class Pair(NamedTuple):
    """A change of the point (n,), that of the gradient, and the curvature along it.

    Attributes
    ----------
    s, y : (n,)
    rho : 1 / s·y
    softness : s·y / y·y, of which curvatures are the inverse

    Examples
    --------
    >>> Pair.of(np.array([1.0, 0.0]), np.array([4.0, 0.0])).softness
    0.25
    """

    s: Floats
    y: Floats
    rho: float
    softness: float

    @classmethod
    def of(cls, s: Floats, y: Floats) -> Pair | None:
        """The pair, or None where the function is not convex along it."""
        curvature = float(s @ y)
        if not curvature > 1e-10 * float(np.linalg.norm(s) * np.linalg.norm(y)):
            return None
        return cls(s, y, 1.0 / curvature, curvature / float(y @ y))


def direction(gradient: Floats, memory: deque[Pair]) -> Floats:
    """Minus the estimated inverse Hessian times the gradient (n,): two-loop recursion (Nocedal and Wright, algorithm 7.4)."""
    q = gradient.copy()
    alphas = []
    for pair in reversed(memory):
        alpha = pair.rho * float(pair.s @ q)
        alphas.append(alpha)
        q -= alpha * pair.y
    if memory:
        q *= max(pair.softness for pair in memory)
    for pair, alpha in zip(memory, reversed(alphas), strict=True):
        q += (alpha - pair.rho * float(pair.y @ q)) * pair.s
    return -q


def descent(gradient: Floats, memory: deque[Pair], max_change: float) -> Floats:
    """Step (n,) to try: quasi-Newton if earlier steps are remembered and it points downhill, else a tenth of ``max_change``."""
    step = direction(gradient, memory) if memory else -gradient
    if memory and float(step @ gradient) >= 0.0:
        memory.clear()
        step = -gradient
    size = float(np.abs(step).max())
    cap = max_change if memory else 0.1 * max_change
    return step * (cap / size) if size > cap or not memory else step


def minimise(
    function: Callable[[Floats], tuple[float, Floats]],
    start: Floats,
    max_evaluations: int,
    max_change: float,
    stop: Callable[[float], bool],
    tolerance: float = 1e-4,
    history: int = 40,
) -> tuple[Floats, str]:
    """Minimise a function of many variables by L-BFGS (Nocedal and Wright, chapter 7).

    The first step is steepest descent of length a tenth of ``max_change``. Later ones try the full quasi-Newton step, cut to
    ``max_change`` in its largest component. Where the value does not fall enough (Armijo's rule), what was found there is
    remembered, and a new quasi-Newton step is tried, half as long, then a quarter, and so on.

    Parameters
    ----------
    function
        Returns value and gradient (n,) at a point (n,); every call counts as one evaluation.
    start
        (n,) first point; evaluated first.
    max_evaluations
        Most calls of ``function``.
    max_change
        Largest change of a variable in one step.
    stop
        Called with the value at the start and after every accepted step; True ends the run.
    tolerance
        Largest component of the gradient below which the run has converged. It has converged too when nine steps together lower
        the value by less than a fiftieth of it.
    history
        How many earlier steps the estimate of the Hessian uses.

    Returns
    -------
    tuple
        The last accepted point (n,), and why it ended: "stopped", "converged" or "steps" (no evaluations left).

    Examples
    --------
    >>> x, why = minimise(lambda x: (float(x @ x), 2.0 * x), np.ones(3), 100, 0.5, stop=lambda value: value < 1e-12)
    >>> bool(np.abs(x).max() < 1e-3), why in ("stopped", "converged")
    (True, True)
    """
    x = start.copy()
    value, gradient = function(x)
    used = 1
    memory: deque[Pair] = deque(maxlen=history)
    past: deque[float] = deque([value], maxlen=10)
    if stop(value):
        return x, "stopped"
    while used < max_evaluations:
        if float(np.abs(gradient).max()) < tolerance:
            return x, "converged"
        step = descent(gradient, memory, max_change)
        for halvings in range(min(BACKTRACKS, max_evaluations - used)):
            moved = step * 0.5**halvings
            new_value, new_gradient = function(x + moved)
            used += 1
            bent = Pair.of(moved, new_gradient - gradient) if np.isfinite(new_value) else None
            fell = new_value <= value + SUFFICIENT_DECREASE * float(moved @ gradient)
            if bent is not None:
                memory.append(bent)
            if fell:
                break
            if bent is not None:
                step = descent(gradient, memory, max_change)
        else:
            if not memory:
                return x, "converged" if used < max_evaluations else "steps"
            memory.clear()
            continue
        x, value, gradient = x + moved, new_value, new_gradient
        past.append(value)
        if stop(value):
            return x, "stopped"
        if len(past) == past.maxlen and past[0] - value < STALLED * abs(past[0]):
            return x, "converged"
    return x, "steps"
