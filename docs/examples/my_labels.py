"""Label settings of this project: one place, imported by the config."""

from atomate2.vasp.jobs.core import StaticMaker
from atomate2.vasp.sets.core import StaticSetGenerator


def lithium():
    """PBE, Gaussian smearing, and the same density of k points in every cell."""
    return StaticMaker(
        input_set_generator=StaticSetGenerator(
            user_incar_settings={
                "GGA": "PE",
                "ENCUT": 450,
                "ISMEAR": 0,
                "SIGMA": 0.1,
                "ISPIN": 1,
                "EDIFF": 1e-6,
                "LREAL": False,
                "LWAVE": False,
                "LCHARG": False,
                "LAECHG": False,
                "LVTOT": False,
            },
            user_kpoints_settings={"reciprocal_density": 100},
            auto_ispin=False,
        )
    )
