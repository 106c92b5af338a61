"""The paper's systems at quick size, by the one command that a user types."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def measured_by(system: str, folder: Path) -> dict[str, Any]:
    """What ``workflows/SYSTEM/run.py quick`` measures, run in an empty folder."""
    out = folder / "quick.json"
    script = ROOT / "workflows" / system / "run.py"
    subprocess.run([sys.executable, script, "quick", "--folder", folder / "run", "--out", out], cwd=folder, check=True)
    found: dict[str, Any] = json.loads(out.read_text())
    return found
