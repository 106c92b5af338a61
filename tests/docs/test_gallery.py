"""The gallery shows what there is, and its commands name files that exist; the glossary has the words a newcomer meets."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from idealflow.workflow.config.templates import available_templates

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gallery.md").read_text()
COMMANDS = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
FOLDERS = ("docs/", "workflows/", "notebooks/")
WORDS = [
    "frame", "environment", "core", "shell", "crop", "substructure", "trigger", "covered", "quarantined", "walker", "round",
    "learner", "judge", "threshold", "label", "labeller", "campaign", "bootstrap", "segment", "screen", "replay", "reference",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_name_files_that_exist(command: str) -> None:
    words = shlex.split(command, comments=True)
    made = words[words.index("export") + 2] if "export" in words else None  # a file that the command writes
    named = [word for word in words if word.startswith(FOLDERS) and word != made]
    assert all((ROOT / word).exists() for word in named), named
    if ".venv/bin/idealflow" in words and "init" in words:
        assert words[words.index("init") + 1] in available_templates()
    if "make" in words:
        assert f"\n{words[words.index('make') + 1]}:" in (ROOT / "Makefile").read_text()


def test_nothing_is_left_out() -> None:
    for folder in (
        path for path in (ROOT / "workflows").iterdir() if list(path.glob("*.py")) and path.name != "workbench"
    ):
        assert f"workflows/{folder.name}" in PAGE, folder.name
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"notebooks/{notebook.name}" in PAGE, notebook.name
    for name in available_templates():
        assert f"idealflow init {name}" in PAGE, name
    for config in (ROOT / "docs" / "examples").glob("*.yaml"):
        pages = [PAGE, *(page.read_text() for page in (ROOT / "docs" / "howto").glob("*.md"))]
        assert any(f"examples/{config.name}" in page for page in pages), config.name


@pytest.mark.parametrize("word", WORDS)
def test_the_glossary_has_the_words_a_newcomer_meets(word: str) -> None:
    assert re.search(rf"^{word}\n  \S", GLOSSARY, re.MULTILINE)


def test_the_glossary_is_in_order() -> None:
    terms = re.findall(r"^(\S.*)\n  \S", GLOSSARY.split("{glossary}\n")[1], re.MULTILINE)
    assert terms == sorted(terms, key=str.lower)
    assert len(terms) > 30
