"""What the scripts of the paper's systems have in common: their command line, their campaigns, and how measures are kept."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from idealflow.provenance import CampaignChain
from workbench.keeping import add_out, keep
from workbench.melting import chain_so_far, run_chain
from workbench.reports import ENDING, write_reports
from workbench.threads import one_thread


def read_arguments(
    here: Path, about: str, sizes: Collection[str], parts: Sequence[str], beside: Sequence[str] = ()
) -> Any:
    """The command line of a system's script, one thread from then on.

    Parameters
    ----------
    here
        The system's folder; its name says where campaigns lie by default.
    about
        What the system is.
    sizes
        Names of its sizes.
    parts, beside
        What is measured by default, and what only if it is asked for.

    Returns
    -------
    Namespace
        With ``size``, ``folder``, ``parts``, ``no_run`` and ``out``.
    """
    default = f"{here.name.replace('_', '-')}-SIZE"
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("size", choices=sizes)
    parser.add_argument("--folder", type=Path, help=f"where the campaigns lie; default: {default}, here")
    parser.add_argument("--parts", nargs="+", choices=[*parts, *beside], default=parts, help="what is measured")
    parser.add_argument("--no-run", action="store_true", help="measure what has been run so far, also while it runs")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    arguments.folder = (arguments.folder or Path(default.replace("SIZE", arguments.size))).absolute()
    arguments.out = arguments.out or here / "results" / f"{arguments.size}.json"
    return arguments


def chain_of(here: Path, arguments: Any, campaigns: Sequence[str]) -> CampaignChain:
    """The campaigns of a size, run as far as they have not been, or only looked at with ``--no-run``."""
    if arguments.no_run:
        return chain_so_far([arguments.folder / name for name in campaigns])
    return run_chain([here / arguments.size / f"{name}.yaml" for name in campaigns], arguments.folder)


def keep_measures(arguments: Any, measures: Mapping[str, Callable[[], dict[str, Any]]]) -> None:
    """Measure the parts that were asked for, one after the other, and keep each."""
    for part in arguments.parts:
        print(part, flush=True)
        keep(arguments.out, **measures[part]())


def keep_reports(chain: CampaignChain, arguments: Any) -> dict[str, Any]:
    """Keep report and summary of each campaign beside the measures; there is nothing of them among these."""
    write_reports(chain, arguments.out.with_name(f"{arguments.out.stem}{ENDING}"))
    return {}
