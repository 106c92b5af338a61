"""`idealflow` with a stopwatch: what its parts took, a line of JSON for each call, written when it begins and when it ends.

    python -m workbench.watched EVENTS.jsonl run CONFIG.yaml --out DIR

The rest of the command line is idealflow's. Times are by the clock and of the process's CPU; ``peak_gb`` is the most memory that
the process had so far.
"""

from __future__ import annotations

import functools
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["watch"]


def watch(
    owner: Any,
    name: str,
    what: str | Callable[..., str],
    log: Callable[..., None],
    size: Callable[..., int] | None = None,
) -> None:
    """Replace a function of a class or module by itself between two lines of the log.

    ``what`` the line says, and the number of atoms ``size``, may be functions of the call's arguments.

    Examples
    --------
    >>> class Clock:
    ...     def tick(self):
    ...         return 1
    >>> lines = []
    >>> watch(Clock, "tick", "tick", lambda what, **of: lines.append((what, of["end"])))
    >>> Clock().tick(), lines
    (1, [('tick', False), ('tick', True)])
    """
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def timed(*args: Any, **kwargs: Any) -> Any:
        said = what if isinstance(what, str) else what(*args, **kwargs)
        of = {} if size is None else {"n": size(*args, **kwargs)}
        log(said, end=False, **of)
        began, cpu = time.perf_counter(), time.process_time()
        try:
            return inner(*args, **kwargs)
        finally:
            log(said, end=True, **of, s=time.perf_counter() - began, cpu_s=time.process_time() - cpu)

    setattr(owner, name, timed)


def main() -> int:
    """Command line."""
    path = Path(sys.argv[1])
    from idealflow.cli import main as idealflow
    from idealflow.core.dynamics import MDState
    from idealflow.core.dynamics.ase_motion import ASEMotion
    from idealflow.core.screening import ScreenedFrame
    from idealflow.forcefields.local.calculator import LocalCalculator
    from idealflow.workflow.stages import crop, relax

    with path.open("a", buffering=1) as file:

        def log(what: str, **of: Any) -> None:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            file.write(json.dumps({"what": what, **of, "peak_gb": round(peak, 3)}) + "\n")

        watch(ASEMotion, "step", "step", log, lambda motion, *_: len(motion.atoms))
        watch(LocalCalculator, "calculate", "forces", log, lambda _, atoms, *__: len(atoms))
        watch(
            ScreenedFrame, "of", lambda *given, **_: "screen" if len(given) < 5 else "choice", log
        )  # with values at hand
        watch(crop, "crop_search", "crop", log)
        watch(relax, "embed", "relax", log)
        watch(MDState, "save", "save", log)
        log("begin", end=True)
        status = idealflow(sys.argv[2:])
        log("end", end=True, s=0.0, cpu_s=time.process_time())
        return status


if __name__ == "__main__":
    sys.exit(main())
