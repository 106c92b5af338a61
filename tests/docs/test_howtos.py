"""Commands of the how-tos run as they are written, from a folder that is as the repository's root after the tutorial."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from ase.build import bulk
from ase.io import write

from idealflow import cli

ROOT = Path(__file__).parents[2]
PROGRAM = ".venv/bin/idealflow"
#: commands that need minutes, an engine or a person; those of campaigns are run for the gallery's and the tutorial's pages
LEFT_OUT = ("run", "watch", "check")


def commands(page: str) -> list[list[str]]:
    """The program's commands on a page, without those that are left out."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "docs" / "howto" / page).read_text(), re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line[0] == PROGRAM and line[1] not in LEFT_OUT]


@pytest.fixture
def root(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished.folder, tmp_path / "first")
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "docs" / "examples")
    write(tmp_path / "POSCAR", bulk("Cu", cubic=True) * 4, format="vasp")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("page", "n"), [("export.md", 6), ("look.md", 1), ("dataset.md", 1), ("structure.md", 1)])
def test_commands_run_as_written(page: str, n: int, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = commands(page)
    assert len(found) == n
    for words in found:
        into = words[words.index(">") + 1] if ">" in words else None
        arguments = words[1 : words.index(">")] if into else words[1:]
        assert cli.main(arguments) == 0, words
        said = capsys.readouterr()
        assert said.err == "", words
        if into:
            (root / into).write_text(said.out)
            assert (root / into).stat().st_size > 0


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs" / "howto").glob("*.md")))
def test_files_of_commands_exist(page: str) -> None:
    text = (ROOT / "docs" / "howto" / page).read_text()
    named = re.findall(r"(?:docs/examples|workflows|notebooks)/[\w./-]+\.(?:yaml|py|ipynb)", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_pages_after_the_tutorial_count_its_labels() -> None:
    stored = json.loads((ROOT / "docs" / "examples" / "figures.json").read_text())["native"]["export"][0]
    n, _, rest = stored.partition(" ")
    assert f"\n{n} {rest.replace('first', 'labels')}\n" in (ROOT / "docs" / "howto" / "export.md").read_text()
    assert f", {n} from the earlier campaign" in (ROOT / "docs" / "howto" / "earlier-campaign.md").read_text()


def test_examples_that_build_on_the_tutorial_find_it_in_the_root() -> None:
    examples = ROOT / "docs" / "examples"
    earlier, dataset = (
        yaml.safe_load((examples / name).read_text())["bootstrap"] for name in ("earlier.yaml", "dataset.yaml")
    )
    assert (examples / earlier["campaign"]).resolve() == ROOT / "first"
    assert f"export first docs/examples/{dataset['dataset']}" in (ROOT / "docs" / "howto" / "dataset.md").read_text()
