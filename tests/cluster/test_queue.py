"""The how-to's queue adapters for Slurm, with an ``sbatch`` that runs the script at once in place of a queue.

``IDEALFLOW_SLURM=1`` uses the machine's own Slurm instead, which needs partitions ``gpu`` (with a GPU) and ``cpu``.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from ase.io import write

from support import tiny
from workbench.cluster import PATIENCE_S, Cluster, wait_for

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "fireworks.md"

#: starts what it is given in the background, in the folder of its submission, and says what Slurm says
SBATCH = """#!/bin/bash
script=$(realpath "$1")
setsid bash -l "$script" > "{folder}/job-$$.log" 2>&1 < /dev/null &
echo $! > "{folder}/job-$$.pid"
echo "Submitted batch job $$"
"""
REAL = bool(os.environ.get("IDEALFLOW_SLURM"))
#: nobody waits, for all that is submitted starts at once
SQUEUE = "#!/bin/bash\n"


def block(page: str, start: str) -> str:
    """The fenced block of the page that starts with a line."""
    (found,) = (each for each in re.findall(r"```text\n(.*?)```", page, re.DOTALL) if each.startswith(start))
    return str(found)


def use_stand_ins(folder: Path) -> Path:
    """A folder with programs of Slurm's names."""
    programs = folder / "bin"
    programs.mkdir()
    for name, text in (("sbatch", SBATCH.format(folder=folder)), ("squeue", SQUEUE)):
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    return programs


def end_jobs(folder: Path) -> None:
    """Kill what was submitted and still runs."""
    for file in folder.glob("job-*.pid"):
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(int(file.read_text()), signal.SIGKILL)
    if REAL:
        listed = subprocess.run(["squeue", "--me", "-h", "-o", "%i %Z"], capture_output=True, text=True, check=True)
        jobs = [line.split() for line in listed.stdout.splitlines()]
        for job in (job for job, where in jobs if Path(where).is_relative_to(folder)):
            subprocess.run(["scancel", job], check=True)


def test_qlaunch_submits_workers_of_both_partitions(cluster: Cluster) -> None:
    page, folder = PAGE.read_text(), cluster.folder
    programs = [] if REAL else [str(use_stand_ins(folder))]
    path = os.pathsep.join([*programs, str(Path(sys.executable).parent), os.environ["PATH"]])
    cluster.environment |= {"PATH": path, "USER": getpass.getuser()}
    keep = " ".join(
        f"{name}='{cluster.environment[name]}'" for name in ("PATH", "FW_CONFIG_FILE", "JOBFLOW_CONFIG_FILE")
    )
    (folder / "profile").write_text(f"export {keep} PYTHONPATH='{cluster.environment['PYTHONPATH']}'\n")
    for name in ("gpu", "cpu"):
        cluster.write(f"{name}.yaml", {"name": name, "category": name, "query": "{}"})
        text = block(page, "_fw_name: CommonAdapter").replace("/home/me/ideal", str(folder))
        text = text.replace("~/.bashrc", str(folder / "profile")).replace("--timeout 82800", f"--timeout {PATIENCE_S}")
        text = text.replace("gpu.yaml", f"{name}.yaml").replace("queue: gpu", f"queue: {name}")
        if name == "cpu":
            text = text.replace("gpus_per_node: 1\n", "")
        (folder / f"{name}_queue.yaml").write_text(text)
    write(folder / "frame.extxyz", tiny.frame())
    settings = tiny.settings(
        category="cpu", segment={"category": "gpu", "schedule": tiny.schedule(10, 0)}, update={"category": "gpu"}
    )
    config = cluster.write("config.yaml", json.loads(json.dumps(settings)) | {"structure": "frame.extxyz"})
    assert cluster.command("idealflow", "submit", str(config)).returncode == 0

    commands = [line.split() for line in page.splitlines() if line.startswith("qlaunch ")]
    assert len(commands) == 2
    waiting = []
    # as written, but for one job each; side by side, for each waits until its partition has work
    for parts in commands:
        once = ["1" if part == "infinite" else part for part in parts]
        program = [str(Path(sys.executable).parent / once[0]), *once[1:]]
        with (folder / f"qlaunch-{len(waiting)}.log").open("wb") as log:
            waiting.append(
                subprocess.Popen(program, env=cluster.environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
            )
    campaign = cluster.campaign("tiny")

    def ended() -> bool:
        state = campaign.state()
        return state is not None and state.status == "finished"

    try:
        assert wait_for(ended, PATIENCE_S), [log.read_text()[-1500:] for log in folder.glob("*.log")]
        assert [each.wait(30) for each in waiting] == [0, 0]
    finally:
        for each in waiting:
            each.kill()
            each.wait()
        end_jobs(folder)
    assert not any("Traceback" in log.read_text() for log in folder.glob("qlaunch-*.log"))
    submitted = [each.read_text() for each in folder.rglob("FW_submit.script")]
    scripts = {name: [each for each in submitted if f"partition={name}\n" in each] for name in ("gpu", "cpu")}
    assert [len(each) for each in scripts.values()] == [1, 1]
    assert "#SBATCH --gpus-per-node=1" in scripts["gpu"][0]
    assert "gpus" not in scripts["cpu"][0]
    assert "#SBATCH --cpus-per-task=8" in scripts["gpu"][0]
    where = set(cluster.launchpad().launches.distinct("fworker.name"))
    assert where == {"cpu", "gpu"}
