"""The model of a campaign as one file, and for LAMMPS where its architecture has a way."""

from __future__ import annotations

from pathlib import Path

from idealflow.errors import InputError
from idealflow.provenance import Campaign

__all__ = ["MODEL_FORMATS", "write_model"]

#: ``idealflow``: what :func:`idealflow.forcefields.load_force_field` reads. ``lammps``: what a pair style of LAMMPS reads
MODEL_FORMATS = ("idealflow", "lammps")


def write_model(campaign: Campaign, path: Path, form: str = "idealflow") -> str:
    """Write the last force field to one file, and return how it is used.

    A force field whose class has a method ``save_lammps(path)``, which writes the file of a pair style and returns the lines of
    LAMMPS that use it, can be written for LAMMPS. The built-in ones have none: no pair style of LAMMPS computes them.

    Parameters
    ----------
    campaign
        The campaign.
    path
        The file.
    form
        One of :data:`MODEL_FORMATS`.

    Raises
    ------
    InputError
        If there is no model yet, or none for LAMMPS.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> print(write_model(sample_campaign(), Path("model.ff")))
    from idealflow.forcefields import load_force_field
    atoms.calc = load_force_field("model.ff").calculator()
    >>> from ase.build import bulk
    >>> from idealflow.forcefields import load_force_field
    >>> atoms = bulk("Cu")
    >>> atoms.calc = load_force_field("model.ff").calculator()
    >>> atoms.get_forces().shape
    (1, 3)
    """
    model = campaign.model()
    if form == "idealflow":
        model.save(path)
        return (
            f'from idealflow.forcefields import load_force_field\natoms.calc = load_force_field("{path}").calculator()'
        )
    if form != "lammps":
        raise InputError(f"a model has the formats {', '.join(MODEL_FORMATS)}, got {form!r}")
    save = getattr(model, "save_lammps", None)
    if save is None:
        raise InputError(
            f"the force field {model.name!r} has no way to LAMMPS: no pair style computes it; use it as an ASE calculator (leave "
            "--format out), or go on with `idealflow run` and learn: false"
        )
    return str(save(path))
