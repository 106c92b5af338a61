"""The command that checks a config. Imports that take seconds are in it."""

from __future__ import annotations

import argparse
import sys

from idealflow.cli.starting import starting
from idealflow.config_text import read_config

__all__ = ["check"]


def check(arguments: argparse.Namespace) -> int:
    """Check a config as far as that is free; with ``--label`` one tiny label is computed.

    Returns
    -------
    int
        0 if nothing is wrong, 2 with a line on stderr for each fault.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> main(["check", "cu.yaml"])  # there is no such file: a message on stderr says so
    2
    """
    read_config(arguments.config)  # what is wrong with its text is said before the imports below, which take seconds
    with starting():
        from idealflow.workflow.check import check_config
        from idealflow.workflow.jobs.progress import SPELLING, Progress, listening

    def tell(event: Progress) -> None:
        if event.stage == SPELLING:
            sys.stderr.write(f"idealflow: {arguments.config}: {event.message}\n")

    with listening(tell):
        findings = check_config(
            arguments.config,
            out=arguments.out,
            launchpad=arguments.launchpad,
            label=arguments.label,
            inputs=arguments.inputs,
        )
    sys.stdout.write(findings.text())
    sys.stdout.flush()
    for fault in findings.faults.found:
        sys.stderr.write(f"idealflow: {' '.join(str(fault).split())}\n")
    if findings.faults.found:
        return 2
    sys.stdout.write("nothing is wrong\n")
    return 0
