"""A crystal at other volumes than those that were learned: what the model makes of it, and whether it would ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ase import Atoms, units

from idealflow.provenance import CampaignChain
from idealflow.workflow.frames.build import build_structure
from idealflow.workflow.labellers import reference_calculator
from idealflow.workflow.learner.version import load_uncertainty_artifact
from workbench.melting import Rows, maker_of
from workbench.oxides import opened


def squeezed(chain: CampaignChain, crystal: Mapping[str, Any], scales: Sequence[float]) -> Rows:
    """A perfect crystal by its lattice constant, by the chain's last model and by the reference.

    Parameters
    ----------
    chain
        Whose last campaign lies in a folder.
    crystal
        Settings of a cubic cell (:func:`~idealflow.workflow.frames.build.build_structure`).
    scales
        Factors of its lattice constant.

    Returns
    -------
    list of dict
        ``a``, Å; the reference's ``energy`` above its least among these, meV/atom, and ``pressure``, GPa; the errors of both; and
        ``ratio``, the uncertainty over the threshold of the last campaign.
    """
    folder = chain[-1].folder
    if folder is None:
        raise SystemExit(f"campaign {chain[-1].name} lies in no folder")
    campaign, learner = opened(folder.path)
    u = load_uncertainty_artifact(campaign.artifacts, learner)
    calculators = {
        "model": chain.last_model().calculator(),
        "reference": reference_calculator(maker_of(chain[-1]).label.labeller),
    }
    rows: Rows = []
    for scale in scales:
        atoms = build_structure({**crystal, "a": scale * crystal["a"], "repeat": 4})
        of = {name: _energy_and_pressure(atoms, calculator) for name, calculator in calculators.items()}
        (energy, pressure), (right, right_pressure) = of["model"], of["reference"]
        rows.append(
            {
                "a": scale * crystal["a"],
                "energy": right,
                "pressure": right_pressure,
                "energy_error": energy - right,
                "pressure_error": pressure - right_pressure,
                "ratio": float(u(atoms).max()) / campaign.state().threshold,
            }
        )
    least = min(row["energy"] for row in rows)
    return [row | {"energy": row["energy"] - least} for row in rows]


def _energy_and_pressure(atoms: Atoms, calculator: Any) -> tuple[float, float]:
    """Energy, meV/atom, and pressure, GPa."""
    probe = atoms.copy()
    probe.calc = calculator
    energy = 1e3 * probe.get_potential_energy() / len(probe)
    return energy, -float(probe.get_stress()[:3].mean()) / units.GPa
