"""The config that a command is given, and the one that it prints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from idealflow.errors import InputError

__all__ = ["checked_config", "init"]


def checked_config(path: Path) -> tuple[Any, Any, dict[str, Any], list[str]]:
    """A checked config, and what became of its inputs (which frame of several is taken), said also where it is refused.

    Keys that are written otherwise now are said on stderr.
    """
    from idealflow.workflow.config.load import load_config
    from idealflow.workflow.jobs.progress import SPELLING, Progress, listening, noted

    def tell(event: Progress) -> None:
        if event.stage == SPELLING:
            sys.stderr.write(f"idealflow: {path}: {event.message}\n")

    with noted() as notes, listening(tell):
        try:
            return *load_config(path), notes
        except InputError:
            sys.stdout.writelines(f"{message}\n" for message in notes)
            raise


def init(arguments: argparse.Namespace) -> int:
    """Print a commented config."""
    from idealflow.workflow.config.templates import template

    sys.stdout.write(template(arguments.name))
    return 0
