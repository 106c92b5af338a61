"""How wrong force fields are on labelled frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.errors import InputError

__all__ = ["FrameError", "ModelErrors", "compare_on_frames", "mean_errors"]


@dataclass(frozen=True)
class FrameError:
    """How wrong one model is on one frame.

    Attributes
    ----------
    energy
        Energy of the model less that of the reference, with its sign, eV per atom.
    force
        Mean of the absolute differences of force components, eV/Å.
    stress
        The same of the components of the stress, eV/Å³; None where the reference or the model gives none.

    Examples
    --------
    >>> FrameError(energy=-0.002, force=0.05, stress=None).force
    0.05
    """

    energy: float
    force: float
    stress: float | None


@dataclass(frozen=True)
class ModelErrors:
    """Errors of one model, averaged over frames.

    Attributes
    ----------
    n_frames
        How many frames.
    energy_bias, energy_mae
        Mean of the energy's error with its sign, and of its size, eV per atom.
    force_mae
        Mean size of the error of a force component, eV/Å.
    stress_mae
        The same of the stress, eV/Å³; None where no frame has one.

    Examples
    --------
    >>> mean_errors([FrameError(0.25, 0.5, None), FrameError(-0.75, 1.0, None)])
    ModelErrors(n_frames=2, energy_bias=-0.25, energy_mae=0.5, force_mae=0.75, stress_mae=None)
    """

    n_frames: int
    energy_bias: float
    energy_mae: float
    force_mae: float
    stress_mae: float | None


def compare_on_frames(models: Mapping[str, Any], frames: Iterable[Atoms]) -> dict[str, list[FrameError]]:
    """Compare force fields with the labels of frames, each frame with all of them.

    Parameters
    ----------
    models
        ASE calculators by name.
    frames
        Frames with a calculator that holds energy (eV), forces (eV/Å) and maybe stress (eV/Å³), as
        :meth:`Campaign.dataset <idealflow.Campaign.dataset>` and ASE's readers give them.

    Returns
    -------
    dict
        For each model its error on each frame, in the order of the frames.

    Raises
    ------
    InputError
        If a frame has no energy or forces.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.structure import set_label
    >>> frame = set_label(bulk("Cu", cubic=True), energy=0.4, forces=np.zeros((4, 3)))
    >>> found = compare_on_frames({"EMT": EMT()}, [frame])["EMT"][0]
    >>> round(found.energy, 3), round(found.force, 3)
    (-0.106, 0.0)
    """
    found: dict[str, list[FrameError]] = {name: [] for name in models}
    for number, frame in enumerate(frames):
        label = getattr(frame.calc, "results", {})
        if "energy" not in label or "forces" not in label:
            raise InputError(f"frame {number} has no energy or forces to compare with; label it first")
        for name, calculator in models.items():
            found[name].append(_error(frame, label, calculator))
    return found


def mean_errors(errors: Sequence[FrameError]) -> ModelErrors:
    """Average errors over frames, each frame with the same weight.

    Raises
    ------
    InputError
        If there are none.

    Examples
    --------
    >>> mean_errors([FrameError(0.001, 0.05, 0.002)]).stress_mae
    0.002
    """
    if not errors:
        raise InputError("there is no frame to average over")
    energies = np.array([error.energy for error in errors])
    stresses = [error.stress for error in errors if error.stress is not None]
    return ModelErrors(
        n_frames=len(errors),
        energy_bias=float(energies.mean()),
        energy_mae=float(np.abs(energies).mean()),
        force_mae=float(np.mean([error.force for error in errors])),
        stress_mae=float(np.mean(stresses)) if stresses else None,
    )


def _error(frame: Atoms, label: Mapping[str, Any], calculator: Any) -> FrameError:
    copy = frame.copy()
    copy.set_constraint()
    copy.calc = calculator
    energy, forces = float(copy.get_potential_energy()), copy.get_forces()
    stress = label.get("stress")
    if stress is not None:
        given = "stress" in getattr(calculator, "implemented_properties", [])
        stress = float(np.abs(copy.get_stress() - stress).mean()) if given else None
    return FrameError(
        energy=(energy - float(label["energy"])) / len(frame),
        force=float(np.abs(forces - label["forces"]).mean()),
        stress=stress,
    )
