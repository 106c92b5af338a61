"""The check of a whole config: everything is looked at, whatever was wrong before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from idealflow.core.descriptors.neighbours import neighbour_pairs
from idealflow.errors import InputError
from idealflow.forcefields import reach_of
from idealflow.workflow.campaign.checks import labels_whole, true_cutoff
from idealflow.workflow.campaign.ideal import IdealMaker
from idealflow.workflow.check.costs import LabelCosts, duration, measured_labels
from idealflow.workflow.check.findings import Findings, spread
from idealflow.workflow.check.inputs import write_inputs
from idealflow.workflow.check.site import check_engine, check_machine, check_places, queue_store
from idealflow.workflow.check.sizes import CellSizes, trial_cells
from idealflow.workflow.check.trial_label import label_one
from idealflow.workflow.config.load import examine_config
from idealflow.workflow.jobs.progress import noted

__all__ = ["check_config"]


def check_config(
    path: Path,
    *,
    out: Path | None = None,
    launchpad: Path | None = None,
    label: bool = False,
    inputs: Path | None = None,
) -> Findings:
    r"""Check a config as far as that costs no label, and with ``label`` one tiny one.

    Parameters
    ----------
    path
        The YAML file.
    out
        Folder in which the campaign is to run, or has run: labels stored there tell what labels cost.
    launchpad
        Launchpad file for a campaign that is to be submitted; one that the config names counts as well.
    label
        Compute one tiny label with the labeller.
    inputs
        Folder that gets the files that VASP would be given: of one small structure that the campaign begins with, and of the
        trial cells, a subfolder each. VASP itself need not be here.

    Returns
    -------
    Findings
        Lines to read, warnings and faults.

    Raises
    ------
    InputError
        If the file cannot be read at all.

    Examples
    --------
    >>> _ = Path("copper.yaml").write_text("{structure: {element: Cu, cubic: true}, relax: {max_step: 5}, seed: -1}")
    >>> findings = check_config(Path("copper.yaml"))
    >>> print(findings.text(), end="")
    structure      4 atoms (4 Cu), 3.61 × 3.61 × 3.61 Å, periodic; closest atoms 2.55 Å apart
    >>> print(*(str(fault).partition(";")[0] for fault in findings.faults.found), sep="\n")
    unknown key relax.max_step (did you mean 'max_steps'?)
    seed: input should be greater than or equal to 0, got -1
    """
    findings = Findings()
    with noted() as notes:
        maker, atoms, _ = examine_config(path, findings.faults)
    for note in dict.fromkeys(notes):
        findings.say("note", note)
    if atoms is not None:
        findings.say("structure", _structure(atoms))
    if maker is None or atoms is None:
        return findings
    sound = not findings.faults.found
    asked = launchpad or (None if maker.launchpad is None else Path(maker.launchpad))
    submitted = asked is not None or maker.continuation == "launchpad"
    cells = _sizes(maker, atoms, findings) if sound else None
    with findings.faults.collected():
        check_engine(maker, atoms, findings, elsewhere=submitted or inputs is not None)
    check_places(maker, out, asked, findings, submitted=submitted)
    check_machine(maker, atoms, findings)
    if inputs is not None and cells is not None:
        with findings.faults.collected():
            for line in write_inputs(maker, atoms, cells[1], inputs):
                findings.say("inputs", line)
    trial = None
    if label and not findings.faults.found:
        with findings.faults.collected():
            trial = label_one(maker, atoms)
            findings.say("label", trial.described())
    if cells is not None and not findings.faults.found:
        costs = measured_labels(out, queue_store() if submitted else None, maker.campaign, maker.label.key)
        if costs is None and trial is not None:
            costs = LabelCosts([len(trial.atoms)], [trial.seconds])
        findings.say("cost", _cost(maker, len(atoms), costs, cells[0], CellSizes.of(cells[1])))
    return findings


def _structure(atoms: Atoms) -> str:
    counts = ", ".join(f"{count} {symbol}" for symbol, count in sorted(atoms.symbols.formula.count().items()))
    lengths = " × ".join(f"{length:.2f}" for length in atoms.cell.lengths()) + " Å"
    open_ = int(3 - atoms.pbc.sum())
    periodic = ("periodic", "open in one direction", "open in two directions", "open in all directions")[open_]
    box = lengths if atoms.cell.rank == 3 else "no cell"
    reach = 1.5 * float(2.0 * covalent_radii[atoms.numbers].max())
    vectors = neighbour_pairs(atoms.positions, np.asarray(atoms.cell), atoms.pbc, reach).vec
    near = f"closest atoms {np.linalg.norm(vectors, axis=1).min():.2f} Å apart" if len(vectors) else "no atoms touch"
    return f"{len(atoms)} atoms ({counts}), {box}, {periodic}; {near}"


def _sizes(maker: IdealMaker, atoms: Atoms, findings: Findings) -> tuple[CellSizes | None, list[Atoms]] | None:
    """Say what the bootstrap will label and what a round will; None where a fault came up."""
    bootstrap = maker.bootstrap
    species = sorted(set(atoms.get_chemical_symbols()))
    cutoff = true_cutoff(bootstrap, species)
    first = None
    if bootstrap.source == "structures":
        first = CellSizes.of(bootstrap.initial_structures(atoms, maker.seed))
        text = (
            f"{len(first.n_atoms)} structures of {spread(first.n_atoms)} atoms ({spread(first.n_electrons)} electrons)"
        )
        findings.say("first model", f"{text} will be labelled")
    elif bootstrap.source == "dataset":
        n = len(bootstrap.read())
        findings.say("first model", f"{n} structures of {bootstrap.dataset}, {bootstrap.dataset_check} labelled again")
    else:
        findings.say("first model", f"carried on from the campaign in {bootstrap.campaign}")
    sees = f"the uncertainty sees {cutoff:.2f} Å"
    if bootstrap.source != "campaign":
        force_field = bootstrap.untrained(species)
        sees += f", the force field {force_field.cutoff:.2f} Å"
        if (reach := reach_of(force_field)) > force_field.cutoff:
            sees += f" in each layer and {reach:.2f} Å in all"
    findings.say("cutoffs", f"{sees}; a cell is at least {2 * cutoff:.2f} Å wide")
    if not maker.learn:
        findings.say("learning", "off: nothing is labelled on the way")
        return first, []
    cells, refused = trial_cells(maker, atoms)
    tried = len(cells) + len(refused)
    if not cells:
        with findings.faults.collected():
            raise InputError(f"no cell can be cut out of the structure, tried {tried} times: {refused[0]}")
        return None
    if refused:
        findings.warnings.append(f"{len(refused)} of {tried} trial cells could not be cut: {refused[0]}")
    how = "whole frames" if labels_whole(maker, atoms) else f"{len(cells)} trial cells"
    budget = (
        "" if labels_whole(maker, atoms) or maker.embedding == "vacuum" else f"; budget {maker.crop.max_atoms} atoms"
    )
    sizes = CellSizes.of(cells)
    text = f"{spread(sizes.n_atoms)} atoms, {spread(sizes.n_electrons)} electrons ({how}{budget})"
    findings.say("substructures", text)
    return first, cells


def _cost(maker: IdealMaker, n_atoms: int, costs: LabelCosts | None, first: CellSizes | None, cells: CellSizes) -> str:
    """What labels will cost, from those that were measured."""
    if costs is None:
        return "not known: no label is stored; --label measures one, --out DIR reads those of a campaign"
    n = len(costs.n_atoms)
    exponent = costs.exponent
    law = "between N and N³, for want of other sizes" if exponent is None else f"as N^{exponent:.1f}"
    parts = [f"{n} measured ({spread(list(costs.n_atoms))} atoms, {spread(list(costs.seconds), ' s')}), growing {law}"]
    if first is not None:
        ends = [costs.at(size) for size in first.n_atoms]
        known = [end for end in ends if end is not None]
        total = (sum(low for low, _ in known), sum(high for _, high in known)) if len(known) == len(ends) else None
        parts.append(f"the bootstrap's {len(ends)}: {_range(total)}")
    if cells.n_atoms:
        parts.append(f"one substructure: {_range(costs.at(float(np.mean(cells.n_atoms))))}")
    if maker.evaluation.n_frames:
        times = costs.at(n_atoms)
        parts.append(f"one of the {maker.evaluation.n_frames} whole frames at the end: {_range(times)}")
    return "; ".join(parts)


def _range(times: tuple[float, float] | None) -> str:
    if times is None:
        return "too far from what was measured"
    shown = duration(times[0]), duration(times[1])
    return f"about {shown[0]}" if shown[0] == shown[1] else f"{shown[0]} to {shown[1]}"
