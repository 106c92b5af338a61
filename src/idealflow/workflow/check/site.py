"""Whether this machine, its stores and its queue can run the campaign."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ase import Atoms
from jobflow import SETTINGS

from idealflow.errors import InputError
from idealflow.settings import Settings
from idealflow.workflow.campaign.settings import CampaignSettings
from idealflow.workflow.check.findings import Findings
from idealflow.workflow.drivers.fireworks import opened_launchpad
from idealflow.workflow.folder.directory import CampaignDirectory
from idealflow.workflow.jobs.job_store import is_private
from idealflow.workflow.labellers import ExternalLabeller

__all__ = ["check_engine", "check_machine", "check_places", "queue_store"]

#: memory of a process that has imported everything, and what an atom of the frame adds (measured, see the docs), bytes
_BASE, _PER_ATOM = 0.9e9, 1.1e3


def check_engine(maker: CampaignSettings, atoms: Atoms, findings: Findings, *, elsewhere: bool) -> None:
    """Whether the labeller's program, parameters and pseudopotentials are here.

    Where labels are computed ``elsewhere``, what is missing here is only worth a warning.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> findings = Findings()
    >>> maker = IdealMaker(label=LabelMaker(AseLabeller("ase.calculators.emt.EMT")))
    >>> check_engine(maker, bulk("Cu"), findings, elsewhere=False)
    >>> print(findings.text(), end="")
    labeller       EMT: ase.calculators.emt.EMT is here
    """
    if not (maker.learn or maker.bootstrap.source == "structures" or maker.evaluation.n_frames):
        findings.say("labeller", "none is needed: nothing is labelled")
        return
    if isinstance(maker.label.labeller, ExternalLabeller):
        findings.say("labeller", f"{maker.label.method} is computed elsewhere: the campaign pauses for its labels")
        return
    what = (
        getattr(maker.label.labeller, "calculator", None)
        or type(getattr(maker.label.labeller, "maker", maker.label.labeller)).__name__
    )
    try:
        maker.label.check_site(sorted(set(atoms.get_chemical_symbols())))
    except InputError as error:
        if not elsewhere:
            raise
        findings.warnings.append(f"{error} (where labels are computed it may be)")
    else:
        findings.say("labeller", f"{maker.label.method}: {what} is here")


def check_places(
    maker: CampaignSettings, out: Path | None, launchpad: Path | None, findings: Findings, *, submitted: bool
) -> None:
    """Whether the folder of `idealflow run`, or the store and launchpad of `idealflow submit`, can be used.

    Examples
    --------
    >>> from idealflow import IdealMaker
    >>> findings = Findings()
    >>> check_places(IdealMaker(), None, None, findings, submitted=False)
    >>> print(findings.text(), end="")
    store          an SQLite file in the folder of `idealflow run --out`
    """
    if out is not None:
        directory = CampaignDirectory(out)
        with findings.faults.collected():
            directory.check_name(maker.campaign)
            directory.check_files()
            held = "holds this campaign, which goes on" if directory.exists() else "is free"
            findings.say("folder", f"{out} {held}; {_free(out) / 1e9:.3g} GB of disk are left")
    if not submitted:
        findings.say("store", "an SQLite file in the folder of `idealflow run --out`")
        return
    with findings.faults.collected():
        findings.say("store", _shared_store())
    with findings.faults.collected():
        findings.say("launchpad", _launchpad(launchpad))


def queue_store() -> Any:
    """The JOB_STORE of jobflow's settings, in which a submitted campaign is.

    Examples
    --------
    >>> from jobflow import JobStore
    >>> isinstance(queue_store(), JobStore)
    True
    """
    return SETTINGS.JOB_STORE


def _free(path: Path) -> float:
    there = next(parent for parent in [path.absolute(), *path.absolute().parents] if parent.exists())
    found = os.statvfs(there)
    return float(found.f_bavail * found.f_frsize)


def _shared_store() -> str:
    store = queue_store()
    kind = type(store.docs_store).__name__
    if is_private(store):
        raise InputError(
            f"jobflow's JOB_STORE is a {kind}, which no two workers share; let JOBFLOW_CONFIG_FILE name a jobflow.yaml with a "
            "MongoStore, here and on every worker"
        )
    store.connect()
    return f"jobflow's JOB_STORE, a {kind}, answers with {store.count()} documents"


def _launchpad(file: Path | None) -> str:
    from pymongo.errors import ConnectionFailure

    try:
        with opened_launchpad(file) as launchpad:
            launchpad.connection.admin.command("ping")
            return f"{launchpad.name} on {launchpad.host} answers"
    except ConnectionFailure as error:
        where = "of FireWorks' own configuration" if file is None else str(file)
        cause = str(error).partition(" (configured timeouts")[0].partition(", Timeout:")[0]
        raise InputError(
            f"the launchpad {where} does not answer ({cause}); start its server, or mend host and port"
        ) from error


def check_machine(maker: CampaignSettings, atoms: Atoms, findings: Findings) -> None:
    """Say which threads and how much memory the campaign takes of this machine's.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import IdealMaker
    >>> findings = Findings()
    >>> check_machine(IdealMaker(), bulk("Cu"), findings)
    >>> [topic for topic, _ in findings.lines]
    ['threads', 'memory']
    """
    threads, cores = Settings().threads, len(os.sched_getaffinity(0))
    labelling = maker.label.labeller.cores
    findings.say("threads", f"{threads} of this machine's {cores} cores (IDEALFLOW_THREADS), a label takes {labelling}")
    for what, count in (("IDEALFLOW_THREADS", threads), ("a label", labelling)):
        if count > cores:
            findings.warnings.append(f"{what} takes {count} cores, and this machine has {cores}")
    if maker.bootstrap.force_field != "local":
        return
    needed, there = _BASE + _PER_ATOM * len(atoms), _memory()
    findings.say("memory", f"about {needed / 1e9:.2g} GB without the labeller, of {there / 1e9:.3g} GB")
    if needed > there:
        findings.warnings.append(
            f"{len(atoms)} atoms need about {needed / 1e9:.3g} GB of memory, and this machine has {there / 1e9:.3g} GB"
        )


def _memory() -> float:
    """Memory of this machine, or what its control group leaves of it, bytes."""
    whole = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return min(whole, float(text)) if text.isdigit() else whole
