"""Whether VASP can run on this machine: if its command or pseudopotentials are missing, one message names the settings."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from atomate2 import SETTINGS
from pymatgen.io.vasp import PotcarSingle
from pymatgen.io.vasp.inputs import PmgVaspPspDirError

from idealflow.errors import InputError
from idealflow.workflow.labellers.programs import absent_program

__all__ = ["check_vasp"]


def check_vasp(maker: Any, species: Iterable[str]) -> None:
    """Refuse to start without VASP or without its pseudopotentials.

    Parameters
    ----------
    maker
        A VASP maker of atomate2.
    species
        Chemical symbols that will be labelled.

    Raises
    ------
    InputError
        One message for all that is missing, with the setting that mends each.

    Examples
    --------
    >>> from idealflow import vasp_static
    >>> from idealflow.workflow.labellers.vasp.site import check_vasp
    >>> check_vasp(vasp_static(vasp_cmd="absent_vasp"), ["Li"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: VASP cannot label on this machine: `absent_vasp` of the command `absent_vasp` is not on PATH; ...
    """
    missing = [*_missing_program(maker), *_missing_potentials(maker, sorted(set(species)))]
    if missing:
        raise InputError("VASP cannot label on this machine: " + "; and ".join(missing))


def _missing_program(maker: Any) -> list[str]:
    absent = absent_program(maker.run_vasp_kwargs.get("vasp_cmd", SETTINGS.VASP_CMD), "vasp", "VASP_CMD")
    return [] if absent is None else [absent]


def _missing_potentials(maker: Any, species: list[str]) -> list[str]:
    if maker.write_input_set_kwargs.get("potcar_spec"):
        return []  # only the names of the pseudopotentials are written; whoever starts VASP provides the files
    generator = maker.input_set_generator
    functional = generator.user_potcar_functional
    names = generator.config_dict["POTCAR"] | (generator.user_potcar_settings or {})
    absent, reason = [], ""
    for symbol in species:
        name = names.get(symbol, symbol)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of POTCARs that pymatgen has no hash of
                PotcarSingle.from_symbol_and_functional(str(name), functional)
        except (PmgVaspPspDirError, OSError, ValueError) as error:
            absent.append(str(name))
            reason = str(error).partition("\n")[0]
    if not absent:
        return []
    return [
        f"the {functional} POTCARs of {', '.join(absent)} are not found ({reason}); set PMG_VASP_PSP_DIR in "
        "~/.config/.pmgrc.yaml or in the environment to the folder that `pmg config -p <POTCARs of VASP> <folder>` made"
    ]
