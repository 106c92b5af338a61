"""Crystals at rest: by a chain's models, by fits to all its labels, and by the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase.calculators.calculator import Calculator

from idealflow.analysis import relax_crystal
from idealflow.forcefields import get_force_field
from idealflow.provenance import CampaignChain
from idealflow.workflow.frames.build import build_structure
from idealflow.workflow.labellers import reference_calculator
from workbench.melting import Rows, maker_of

Crystals = Mapping[str, dict[str, Any]]


def lattices(chain: CampaignChain, crystals: Crystals) -> Rows:
    """Lattices at rest by the first model, the last and the reference: lengths (Å), volume (Å³ per atom).

    ``energy_error`` is that of a model less that of the reference, ``above`` the energy above the first of the crystals by the
    same source; both in meV per atom.
    """
    reference = reference_calculator(maker_of(chain[-1]).label.labeller)
    calculators = {"first": chain.first_model().calculator(), "last": chain.last_model().calculator()}
    rows = [
        row
        for by, calculator in (calculators | {"reference": reference}).items()
        for row in at_rest(by, calculator, crystals)
    ]
    by_source = {(row["by"], row["phase"]): row["energy"] for row in rows}
    for row in rows:
        energy = row.pop("energy")
        row["energy_error"] = energy - by_source["reference", row["phase"]]
        row["above"] = energy - by_source[row["by"], next(iter(crystals))]
    return rows


def fits(chain: CampaignChain, crystals: Crystals, ways: Mapping[str, dict[str, Any]], seed: int = 7) -> Rows:
    """Lattices at rest by force fields fitted from scratch to all that a chain has labelled.

    Parameters
    ----------
    chain
        Its campaigns' force field, with their settings but for those of a way, is fitted.
    crystals
        What is brought to rest.
    ways
        Settings of the force field by a name; ``fit_steps`` among them.
    seed
        Of the weights and of the order of structures.

    Returns
    -------
    list of dict
        Lengths and volume as of :func:`lattices`, and the errors on the structures of the fit, meV/atom and meV/Å.
    """
    structures = [atoms for number, campaign in enumerate(chain) for atoms in campaign.dataset(bootstrap=number == 0)]
    own: Any = chain.last_model()
    rows: Rows = []
    for way, settings in ways.items():
        force_field = get_force_field(own.name, **{**own.settings, **settings})
        force_field.fit(structures, seed=seed)
        energy, force, *_ = 1e3 * force_field.errors(structures).mean(axis=0)
        of_fit = {"n_structures": len(structures), "energy_mae": energy, "force_mae": force}
        rows += [
            {name: value for name, value in (row | of_fit).items() if name != "energy"}
            for row in at_rest(way, force_field.calculator(), crystals)
        ]
    return rows


def at_rest(by: str, calculator: Calculator, crystals: Crystals) -> Rows:
    """Each crystal at rest: ``by``, its ``phase``, energy (meV per atom), lengths and volume."""
    rows: Rows = []
    for phase, settings in crystals.items():
        found = relax_crystal(build_structure(settings), calculator)
        sizes = {"a": found.lengths[0], "c": found.lengths[2], "volume": found.volume}
        rows.append({"by": by, "phase": phase, "energy": 1e3 * found.energy, **sizes})
    return rows
