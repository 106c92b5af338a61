"""A small L-BFGS that counts evaluations, bounds its steps, and can be stopped from outside."""

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
    """Two-loop recursion: minus the inverse Hessian estimate times the gradient (Nocedal and Wright, algorithm 7.4)."""
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
    """Step to try: quasi-Newton where there is a memory and it points downhill, else a tenth of `max_change`."""
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
    """Minimise a function of many variables.

    The first direction is steepest descent scaled to a tenth of `max_change`; later steps try the full quasi-Newton
    step, cut to `max_change` in its largest component, and halve it until the value falls (Armijo).

    Parameters
    ----------
    function
        Value and gradient; every call counts as one evaluation.
    start
        (n,) first point; evaluated first.
    max_evaluations
        Most calls of `function`.
    max_change
        Largest change of a variable in one step.
    stop
        Called with the value of the start and after every accepted step; True ends the run.
    tolerance
        Converged when the largest gradient component falls below, or ten steps together gain less than a thousandth
        of the value.
    history
        Pairs kept for the Hessian estimate.

    Returns
    -------
    tuple
        The last point accepted (n,), and "stopped", "converged" or "steps".
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
