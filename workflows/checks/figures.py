"""Make again the figures that every reader sees, and write them into the pages.

    python workflows/checks/figures.py            # run everything: some ten minutes on one core
    python workflows/checks/figures.py --pages    # only write the pages from what is stored

The tutorial's campaign (`docs/examples/first.yaml`) and the example of the Python page (`docs/examples/from_python.py`) are
run with the vectors of this processor and with shorter ones (`processors.py`), for how far another processor's figures
may differ. Times are among the figures: run it where nothing else runs. What they print is kept in
`docs/examples/figures.json`; the tutorial, the Python page and the README take their figures from there, and the tests see
to it that they do (the tutorial's table is made when the page is built).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from workbench.measured_tables import FIGURES as STORED
from workbench.measured_tables import first_and_last
from workbench.processors import RESTRICTED, environment

__all__ = ["STORED", "rendered"]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
KEPT = ("uncertainty_threshold", "n_substructures", "n_labelled_frames", "model_version", "evaluation")


def run(command: list[str], vectors: str, folder: Path, progress: bool = False) -> list[str]:
    """Lines that a command prints, with or without those on its way."""
    variables = environment(vectors) | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    stderr = subprocess.STDOUT if progress else None
    done = subprocess.run(
        command, env=variables, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True, check=True
    )
    return [line.replace(str(folder), "...") for line in done.stdout.splitlines()]


def measured(vectors: str) -> dict[str, Any]:
    """What the examples print and count with these vectors."""
    program = [str(Path(sys.executable).with_name("idealflow"))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        printed = run(
            [*program, "run", str(EXAMPLES / "first.yaml"), "--out", str(folder / "first")],
            vectors,
            folder,
            progress=True,
        )
        exported = run([*program, "export", "first", "first.extxyz"], vectors, folder)
        summary = json.loads((folder / "first" / "summary.json").read_text())
        python = run([sys.executable, str(EXAMPLES / "from_python.py")], vectors, folder)
    start = next(i for i, line in enumerate(python) if line.startswith("finished"))
    return {
        "run": shortened(printed),
        "export": exported[-2:],
        "from_python": python[start:],
        "summary": {key: summary[key] for key in KEPT},
    }


def shortened(lines: list[str]) -> list[str]:
    """The bootstrap and the first rounds, the last progress and what follows it."""
    lines = lines[next(i for i, line in enumerate(lines) if line.startswith("bootstrap:")) :]
    last = max(i for i, line in enumerate(lines) if line.startswith("step "))
    return [*lines[:5], "...", *lines[last:]]


def replaced(text: str, pattern: str, new: str) -> str:
    """The text with the one place that the pattern's middle group finds made new."""
    found, n = re.subn(pattern, lambda match: match[1] + new + match[3], text, flags=re.DOTALL)
    if n != 1:
        raise SystemExit(f"{n} places of a page match {pattern!r}, not one")
    return found


def rendered(figures: dict[str, Any]) -> dict[str, str]:
    """Pages (paths below the repository's root) as these figures make them."""
    native = figures["native"]
    tutorial, python, readme = (
        (ROOT / name).read_text() for name in ("docs/tutorial.md", "docs/howto/python.md", "README.md")
    )
    printed = "\n".join(native["run"]) + "\n"
    tutorial = replaced(tutorial, r"(\n## Run\n.*?--out first\n)(.*?)(```)", printed)
    tutorial = replaced(tutorial, r"(export first first\.extxyz\n)(.*?)(```)", "\n".join(native["export"]) + "\n")
    python = replaced(
        python,
        r"(\$ \.venv/bin/python docs/examples/from_python\.py\n\.\.\.\n)(.*?)(```)",
        "\n".join(native["from_python"]) + "\n",
    )
    energy, force = (first_and_last(native["summary"], kind) for kind in ("energy", "force"))
    fell = f"from {energy[0]} to {energy[1]} meV/atom and from {force[0]} to {force[1]} meV/Å"
    readme = replaced(readme, r"(errors on whole\s+frames [^;]*?fell )(from [^;]*?Å)(;)", fell)
    return {"docs/tutorial.md": tutorial, "docs/howto/python.md": python, "README.md": readme}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", action="store_true", help="run nothing")
    if not parser.parse_args().pages:
        figures = {}
        for vectors in RESTRICTED:
            print(f"running with vectors: {vectors}", flush=True)
            figures[vectors] = measured(vectors)
        beside = STORED.with_suffix(".new")
        beside.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
        beside.replace(STORED)
    for page, text in rendered(json.loads(STORED.read_text())).items():
        (ROOT / page).write_text(text)
        print(f"written: {page}")


if __name__ == "__main__":
    main()
