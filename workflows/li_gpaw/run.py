"""Lithium with labels by GPAW, plane waves and PBE: its campaigns, and what came of them.

    python workflows/li_gpaw/run.py bulk|vacancy [--folder DIR] [--parts ...] [--no-run]

Runs the campaign of `li-gpaw.yaml` or `li-vacancy.yaml` in a folder, or goes on with it, and measures it; what was measured is
kept in `results/bulk.json` or `results/vacancy.json`, its summary and report beside it. One core and an hour for the vacancy,
several for the bulk; `make gpaw` installs GPAW.
"""

from __future__ import annotations

from pathlib import Path

from idealflow.provenance import CampaignChain
from workbench import melting
from workbench.melting import chain_so_far, run_chain
from workbench.system_runs import keep_measures, keep_reports, read_arguments

HERE = Path(__file__).parent
PARTS = ("ancestry", "labels", "errors", "reports")
CONFIGS = {"bulk": "li-gpaw", "vacancy": "li-vacancy"}
N_FRAMES = 3  # of the run, labelled whole: minutes each


def ancestry(chain: CampaignChain, folder: Path) -> melting.Rows:
    """As of any chain; its labels run in the processes of a pool, whose time is not in that of the script, and is added."""
    rows = melting.ancestry(chain, folder)
    return [row | {"cpu_s": row["cpu_s"] + row["label_core_s"]} for row in rows]


def main() -> None:
    arguments = read_arguments(HERE, "Lithium by GPAW.", CONFIGS, PARTS)
    name, folder = CONFIGS[arguments.size], arguments.folder
    chain = chain_so_far([folder / name]) if arguments.no_run else run_chain([HERE / f"{name}.yaml"], folder)
    measured = {
        "ancestry": lambda: {"ancestry": ancestry(chain, folder)},
        "labels": lambda: {"labels": melting.labels(chain)},
        "errors": lambda: {"errors": melting.errors(chain, folder, N_FRAMES)},
        "reports": lambda: keep_reports(chain, arguments),
    }
    keep_measures(arguments, measured)


if __name__ == "__main__":
    main()
