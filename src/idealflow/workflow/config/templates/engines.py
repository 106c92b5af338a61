"""The section `label` of a config, for each engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from idealflow.core.descriptors.neighbours import neighbour_pairs
from idealflow.errors import InputError, did_you_mean

__all__ = ["ENGINES", "check_engine_name", "label_section"]

ENGINES = ("vasp", "gpaw", "cp2k", "ase")
#: metals of which ASE's EMT was made; its H, C, N and O are not meant for use
_EMT = {"Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt"}

_VASP = """\
label:                 # VASP through atomate2: POTCARs and VASP_CMD as docs/howto/vasp.md says
  labeller:
    maker: idealflow.vasp_static
    kwargs: {{kind: {kind}, variant: standard, time_limit_s: 14000}}   # {why}
    reference: VASP PBE
    cores: 32            # of a failed label, which leaves no record
"""
_GPAW = """\
label:                 # GPAW: `make gpaw` builds it; docs/howto/labeller.md
  labeller:
    calculator: gpaw.GPAW
    kwargs:
      mode: {{name: pw, ecut: {ecut}}}                    # eV{ecut_why}
      xc: PBE
      kpts: {{density: {density}}}                         # points per Å⁻¹, the same in every cell
      occupations: {{name: fermi-dirac, width: {width}}}   # eV
      nbands: 160%                                     # for metals: more bands than the default
      txt: null
    time_limit_s: 14400
    reference: GPAW PBE
"""
_CP2K = """\
label:                 # CP2K through atomate2: CP2K_CMD in ~/.atomate2.yaml, PMG_CP2K_DATA_DIR from `pmg config --cp2k`
  labeller:
    maker: atomate2.cp2k.jobs.core.StaticMaker
    reference: CP2K PBE  # with PMG_DEFAULT_CP2K_FUNCTIONAL: PBE in ~/.config/.pmgrc.yaml
    cores: 32
"""
_ASE_EMT = """\
label:                 # any ASE calculator by its import path; docs/howto/labeller.md
  labeller:
    calculator: ase.calculators.emt.EMT
    time_limit_s: 600
    reference: EMT (stands in for DFT)
"""
_ASE_LJ = """\
# EMT has no {missing}: a Lennard-Jones potential holds the place of your calculator. Its labels mean nothing.
label:
  labeller:
    calculator: ase.calculators.lj.LennardJones   # put the import path of yours here; docs/howto/labeller.md
    kwargs: {{sigma: {sigma:.3f}, epsilon: 0.1, rc: {reach:.2f}, smooth: true}}   # Å, eV; sigma from the closest atoms
    time_limit_s: 600
    reference: Lennard-Jones (a placeholder)
"""


def check_engine_name(engine: str) -> None:
    """Refuse an engine for which there is no section.

    Examples
    --------
    >>> check_engine_name("vaps")
    Traceback (most recent call last):
    idealflow.errors.InputError: there is no engine 'vaps' (did you mean 'vasp'?); available: vasp, gpaw, cp2k, ase
    """
    if engine not in ENGINES:
        raise InputError(
            f"there is no engine {engine!r}{did_you_mean(engine, ENGINES)}; available: {', '.join(ENGINES)}"
        )


def label_section(engine: str, atoms: Atoms, kind: tuple[str, str]) -> str:
    """Write the section for an engine.

    Parameters
    ----------
    engine
        One of :data:`ENGINES`.
    atoms
        The structure.
    kind
        Kind of VASP's input set, and why.

    Examples
    --------
    >>> from ase.build import bulk
    >>> print(label_section("ase", bulk("Cu"), ("metal", "all species are metals")).splitlines()[2].strip())
    calculator: ase.calculators.emt.EMT
    """
    species = sorted(set(atoms.get_chemical_symbols()))
    if engine == "vasp":
        return _VASP.format(kind=kind[0], why=kind[1])
    if engine == "gpaw":
        hard = bool(set(species) & {"N", "O", "F"})
        metal = kind[0] == "metal"
        return _GPAW.format(
            ecut=600 if hard else 400,
            ecut_why=": with N, O or F 400 eV is wrong by electronvolts" if hard else "",
            density="3.0" if metal else "2.0",
            width="0.1" if metal else "0.05",
        )
    if engine == "cp2k":
        return _CP2K
    if set(species) <= _EMT:
        return _ASE_EMT
    return _placeholder(atoms, [symbol for symbol in species if symbol not in _EMT])


def _placeholder(atoms: Atoms, missing: Sequence[str]) -> str:
    pairs = neighbour_pairs(atoms.positions, np.asarray(atoms.cell), atoms.pbc, 6.0)
    closest = float(np.linalg.norm(pairs[3], axis=1).min(initial=3.0))
    sigma = closest / 2.0 ** (1.0 / 6.0)
    return _ASE_LJ.format(missing=", ".join(missing), sigma=sigma, reach=2.5 * sigma)
