"""A small L-BFGS minimiser that counts evaluations, bounds its steps, and can be stopped by the caller."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["minimise"]

Floats = NDArray[np.float64]

SUFFICIENT_DECREASE = 1e-4
BACKTRACKS = 12


def direction(gradient: Floats, memory: deque[tuple[Floats, Floats, float]]) -> Floats:
    """Minus the estimated inverse Hessian times the gradient (n,): two-loop recursion (Nocedal and Wright, algorithm 7.4)."""
    q = gradient.copy()
    alphas = []
    for s, y, rho in reversed(memory):
        alpha = rho * float(s @ q)
        alphas.append(alpha)
        q -= alpha * y
    if memory:
        s, y, rho = memory[-1]
        q *= 1.0 / (rho * float(y @ y))
    for (s, y, rho), alpha in zip(memory, reversed(alphas), strict=True):
        q += (alpha - rho * float(y @ q)) * s
    return -q


def descent(gradient: Floats, memory: deque[tuple[Floats, Floats, float]], max_change: float) -> Floats:
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
    history: int = 12,
) -> tuple[Floats, str]:
    """Minimise a function of many variables by L-BFGS (Nocedal and Wright, chapter 7).

    The first step is steepest descent of length a tenth of ``max_change``. Later ones try the full quasi-Newton step, cut to
    ``max_change`` in its largest component, and halve it until the value falls enough (Armijo's rule).

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
        the value by less than a thousandth of it.
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
    memory: deque[tuple[Floats, Floats, float]] = deque(maxlen=history)
    past: deque[float] = deque([value], maxlen=10)
    if stop(value):
        return x, "stopped"
    while used < max_evaluations:
        if float(np.abs(gradient).max()) < tolerance:
            return x, "converged"
        step = descent(gradient, memory, max_change)
        slope = float(step @ gradient)
        for halvings in range(min(BACKTRACKS, max_evaluations - used)):
            moved = step * 0.5**halvings
            new_value, new_gradient = function(x + moved)
            used += 1
            if new_value <= value + SUFFICIENT_DECREASE * 0.5**halvings * slope:
                break
        else:
            if not memory:
                return x, "converged" if used < max_evaluations else "steps"
            memory.clear()
            continue
        bent = new_gradient - gradient
        curvature = float(moved @ bent)
        if curvature > 1e-10 * float(np.linalg.norm(moved) * np.linalg.norm(bent)):
            memory.append((moved, bent, 1.0 / curvature))
        x, value, gradient = x + moved, new_value, new_gradient
        past.append(value)
        if stop(value):
            return x, "stopped"
        if len(past) == past.maxlen and past[0] - value < 1e-3 * abs(past[0]):
            return x, "converged"
    return x, "steps"
