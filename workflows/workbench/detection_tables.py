"""Tables of what measures of uncertainty detect, from what `checks/detection.py` and `checks/phase_chain.py` kept."""

from __future__ import annotations

from typing import Any

from workbench.markdown import digits, markdown
from workbench.measured_tables import kept, named


def detected(system: str) -> str:
    """Median of uncertainty over threshold, and the share of atoms above it, by what is met and by measure."""
    found: dict[str, Any] = kept("checks", "detection")[system]
    kinds = list(found["energy_error"])
    energies = [f"{found['energy_error'][kind]:+.1f}" for kind in kinds]
    rows = [["energy error, meV/atom", *energies]]
    for name, each in found["measures"].items():
        cells = [f"{digits(each['median'][kind])} ({100 * each['above'][kind]:.0f} %)" for kind in kinds]
        rows.append([f"`{name}`" if name in ("soap", "mixture") else name, *cells])
    return markdown(["", *kinds], rows)


def areas() -> str:
    """Areas under the curve: atoms of wrong phases, atoms of wrong forces, and the share of the latter above the threshold."""
    systems = kept("checks", "detection")
    heads = ["", *(f"{named(name)}: phases, forces (found)" for name in systems)]
    rows = []
    for measure in next(iter(systems.values()))["measures"]:
        cells = []
        for found in systems.values():
            each = found["measures"][measure]
            cells.append(f"{each['phase_auc']:.2f}, {each['auc']:.2f} ({100 * each['wrong_and_above']:.0f} %)")
        rows.append([f"`{measure}`" if measure in ("soap", "mixture") else measure, *cells])
    return markdown(heads, rows)


def chain(system: str) -> str:
    """Labels that each campaign of the chain spent, and errors of the models after each: meV/atom and meV/Å."""
    found_of = kept("checks", "phase_chain")
    chains = {measure: found_of[f"{system}_{measure}"] for measure in ("soap", "mixture")}
    phases = list(chains["soap"]["after_other"])
    rows = []
    for measure, found in chains.items():
        for number, after in enumerate(("after_liquid", "after_other")):
            errors = [f"{energy:+.1f}, {force:.0f}" for energy, force in found[after].values()]
            rows.append([f"`{measure}`", ("liquid", phases[-1])[number], str(found["labels"][number]), *errors])
    return markdown(["", "after", "labels", *phases], rows)
