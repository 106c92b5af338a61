"""Label settings of this project: one place, imported by the config."""

from idealflow import vasp_static


def lithium():
    """Metals' settings, with the one-electron lithium and the cutoff that it allows."""
    return vasp_static("metal", "standard", potcar={"Li": "Li"}, incar={"ENCUT": 300}, time_limit_s=6 * 3600)
