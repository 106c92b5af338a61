"""The paper's systems at sizes that a test can run, by the one command that a user types."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def measured_by(system: str, folder: Path, size: str = "quick", parts: Sequence[str] = ()) -> dict[str, Any]:
    """What ``workflows/SYSTEM/run.py SIZE [--parts ...]`` measures, run in an empty folder."""
    out = folder / f"{size}.json"
    command = [sys.executable, ROOT / "workflows" / system / "run.py", size, "--folder", folder / "run", "--out", out]
    if parts:
        command += ["--parts", *parts]
    subprocess.run(command, cwd=folder, check=True)
    found: dict[str, Any] = json.loads(out.read_text())
    return found
