"""The command that shows campaigns while they run: watch. Imports that take seconds are in it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from idealflow.errors import InputError

__all__ = ["add_watch", "watch"]


def add_watch(commands: Any) -> None:
    """Add the command to the program's parser, whose ``add_subparsers`` gave ``commands``.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_watch(parser.add_subparsers())
    >>> parser.parse_args(["watch", "--port", "8000"]).port
    8000
    """
    parser = commands.add_parser("watch", help="a live page of campaigns on this machine, read-only")
    parser.add_argument(
        "target",
        nargs="?",
        metavar="DIR",
        help="the campaign's folder, or its name in the store; default: all of the store",
    )
    parser.add_argument(
        "--store", type=Path, metavar="FILE", help="YAML of a JobStore, or a jobflow.yaml; default: jobflow's JOB_STORE"
    )
    parser.add_argument("--port", type=int, metavar="P", help="port at 127.0.0.1; default 8765, or a free one")
    parser.set_defaults(command=watch)


def watch(arguments: argparse.Namespace) -> int:
    """Serve a live page until Ctrl-C.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> main(["watch", "no/such/folder"])  # holds no campaign: a message on stderr says so
    2
    """
    from idealflow.provenance import CampaignFolder
    from idealflow.report.live.campaigns import Watched
    from idealflow.report.live.server import LOOPBACK, application, bound, serve

    folder = None if arguments.target is None or arguments.store is not None else CampaignFolder(arguments.target)
    if folder is not None and (folder.exists() or "/" in arguments.target):
        watched = Watched.folder(folder.path)
        what = f"campaign {folder.campaign_name()}"
    else:
        watched = Watched.store(_store(arguments.store), only=arguments.target)
        if arguments.target is not None and not watched.names():
            watched.close()
            raise InputError(
                f"{arguments.target} is no folder with a campaign, and the store has none so named; name none to watch all"
            )
        what = "all campaigns of the store" if arguments.target is None else f"campaign {arguments.target}"
    application(watched)  # what is missing is said before the port is taken
    listening = bound(arguments.port)
    address = f"http://{LOOPBACK}:{listening.getsockname()[1]}/"
    sys.stdout.write(f"watching {what} at {address} (Ctrl-C ends it)\n")
    sys.stdout.flush()
    serve(watched, listening)
    return 0


def _store(file: Path | None) -> Any:
    """The JobStore that a file describes, or that of jobflow's settings."""
    from jobflow import SETTINGS, JobStore

    if file is None:
        return SETTINGS.JOB_STORE
    try:
        spec = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"--store {file} cannot be read as YAML ({type(error).__name__}); give the file of a JobStore"
        ) from error
    spec = spec.get("JOB_STORE", spec) if isinstance(spec, dict) else spec
    try:
        return JobStore.from_dict_spec(spec)
    except Exception as error:  # whatever the store's own class raises for what it is given
        raise InputError(
            f"--store {file} describes no JobStore ({error}); it needs docs_store with its type, as in jobflow.yaml"
        ) from error
