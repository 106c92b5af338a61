"""What tests share: a tiny campaign, labelled cells, cheap potentials, and labellers that count, wait, fail or emulate."""

from __future__ import annotations

import os
from pathlib import Path

#: the folder that this package is imported from
TESTS = Path(__file__).resolve().parents[1]


def environment_with_support() -> dict[str, str]:
    """Environment of a process that imports this package too, as pytest's own process does by its setting `pythonpath`."""
    path = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(part for part in path if part)}
