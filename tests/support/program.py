"""The program as tests run it, in their own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ase.io import write

from idealflow import cli
from support import tiny


def write_config(folder: Path, name: str = "campaign.yaml", **changes: Any) -> Path:
    """Write a config of the tiny campaign (with changes) beside its structure file; its path."""
    write(folder / "frame.extxyz", tiny.frame())
    path = folder / name
    path.write_text(yaml.safe_dump({"structure": "frame.extxyz", **tiny.settings(**changes)}))
    return path


def run(config: Path, out: Path, *more: str) -> int:
    """Exit status of `idealflow run`."""
    return cli.main(["run", str(config), "--out", str(out), "--quiet", *more])


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one readable message on stderr, and nothing else there."""
    captured = capsys.readouterr()
    assert captured.err.startswith("idealflow: "), captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err
