"""Commands of campaigns on FireWorks: submit, pause, recover. Imports that take seconds are in them."""

from __future__ import annotations

import argparse
import sys

from idealflow.cli.inputs import checked_config
from idealflow.errors import InputError

__all__ = ["pause", "recover", "submit"]


def submit(arguments: argparse.Namespace) -> int:
    """Add a campaign to FireWorks.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> main(["submit", "cu.yaml"])  # there is no such file: a message on stderr says so
    2
    """
    maker, atoms, settings, notes = checked_config(arguments.config)
    from idealflow.workflow.drivers.fireworks import submit_campaign

    labeller = settings.get("label", {}).get("labeller")
    if isinstance(labeller, dict) and "maker" in labeller and "import_from" in labeller:
        kind = type(getattr(maker.label.labeller, "maker", None))
        if kind.__module__.partition(".")[0] == labeller["maker"].partition(".")[0]:
            raise InputError(
                f"every worker has to import {kind.__module__}.{kind.__name__}, which lies beside the config; set PYTHONPATH to "
                f"{labeller['import_from']} here and on the workers"
            )
    sys.stdout.writelines(f"{message}\n" for message in notes)
    sys.stdout.write(submit_campaign(maker, atoms, arguments.launchpad, notes) + "\n")
    return 0


def pause(arguments: argparse.Namespace) -> int:
    """Let a submitted campaign stop at the end of its round.

    Examples
    --------
    >>> from idealflow.cli.parser import parser
    >>> parser().parse_args(["pause", "cu-melt"]).command.__name__
    'pause'
    """
    from idealflow.workflow.drivers.fireworks import pause_campaign

    sys.stdout.write(pause_campaign(arguments.campaign, arguments.launchpad) + "\n")
    return 0


def recover(arguments: argparse.Namespace) -> int:
    """Mend a submitted campaign's queue.

    Examples
    --------
    >>> from idealflow.cli.parser import parser
    >>> parser().parse_args(["recover", "cu-melt"]).command.__name__
    'recover'
    """
    from idealflow.workflow.drivers.recovery import recover_campaign

    done = recover_campaign(
        arguments.campaign,
        arguments.launchpad,
        lost_after_s=arguments.lost_after,
        rerun_fizzled=not arguments.keep_fizzled,
    )
    sys.stdout.write(f"campaign {arguments.campaign}: {done}\n")
    return 0
