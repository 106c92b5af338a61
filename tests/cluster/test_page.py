"""The commands of the how-to of FireWorks, run as they are written, one after the other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from ase.io import write

from support import tiny
from workbench.cluster import PATIENCE_S, Cluster

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "fireworks.md"


def test_every_command_of_the_page_runs(cluster: Cluster) -> None:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    commands = [line[2:] for block in blocks for line in block.splitlines()]
    assert len(commands) > 10
    write(cluster.folder / "frame.extxyz", tiny.frame())
    settings = tiny.settings(queues={"default": "cpu", "segment": "gpu", "update": "gpu"})
    cluster.write("CONFIG.yaml", json.loads(json.dumps(settings)) | {"structure": "frame.extxyz"})
    for name in ("cpu", "gpu"):
        cluster.write(f"{name}.yaml", {"name": name, "category": name, "query": "{}"})
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in commands:
        if command.startswith("pip "):
            continue
        done = subprocess.run(
            ["bash", "-c", re.sub(r"\bNAME\b", "tiny", command)],
            env=cluster.environment | {"PATH": path},
            cwd=cluster.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
        assert "Traceback" not in done.stderr, f"{command}: {done.stderr[-2000:]}"
    state = cluster.campaign("tiny").state()
    assert state is not None
    assert state.round >= 1
    assert (cluster.folder / "tiny" / "report.html").exists()
