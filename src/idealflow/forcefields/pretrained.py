"""Weights that exist before a campaign: names of what packages ship, and files, as force fields that learn from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from idealflow.errors import ArtifactError, InputError, MissingExtraError, did_you_mean
from idealflow.forcefields.anchors import varied_crystals
from idealflow.forcefields.protocol import ForceField, Startable
from idealflow.forcefields.registry import load_force_field

__all__ = ["check_species", "is_gone", "is_shipped", "kept_structures", "pretrained_force_field", "weights_file"]

#: how many structures say how far a force field has moved, where they are made
_OUTSIDE = 24


def weights_file(pretrained: str) -> Path:
    """Absolute path of the weights that a name or a file stands for.

    Parameters
    ----------
    pretrained
        ``7net-0`` or ``7net-l3i5``, which the package ``sevenn`` ships, ``chgnet-0.3.0`` or ``chgnet-r2scan``, which ``chgnet``
        ships, or a file.

    Raises
    ------
    InputError
        If it is neither.
    MissingExtraError
        If the package is not installed; the message holds the pip command.

    Examples
    --------
    >>> weights_file("7net0")
    Traceback (most recent call last):
    idealflow.errors.InputError: there is no file 7net0, and no weights have that name (did you mean '7net-0'?); known: ...
    """
    from idealflow.forcefields import chgnet, sevennet
    from idealflow.forcefields.chgnet.weights import SHIPPED as OF_CHGNET
    from idealflow.forcefields.sevennet.weights import SHIPPED as OF_SEVENNET

    if pretrained in OF_SEVENNET:
        return sevennet.shipped_file(pretrained)
    path = Path(pretrained)
    if pretrained in OF_CHGNET or (pretrained.startswith("chgnet-") and not path.is_file()):
        return chgnet.shipped_file(pretrained)
    if not path.is_file():
        known = [*OF_SEVENNET, *OF_CHGNET]
        close = did_you_mean(path.name, known)
        raise InputError(
            f"there is no file {pretrained}, and no weights have that name{close}; known: {', '.join(known)}"
        )
    return path.absolute()


def is_shipped(pretrained: str) -> bool:
    """Whether weights are called by the name that their package gives them, and not by a file.

    Examples
    --------
    >>> is_shipped("7net-0"), is_shipped("copper.ff")
    (True, False)
    """
    from idealflow.forcefields.chgnet.weights import SHIPPED as OF_CHGNET
    from idealflow.forcefields.sevennet.weights import SHIPPED as OF_SEVENNET

    return pretrained in OF_SEVENNET or pretrained in OF_CHGNET


def is_gone(pretrained: str) -> bool:
    """Whether weights are neither a file that is there nor those of an installed package.

    Examples
    --------
    >>> is_gone("absent.ff")
    True
    """
    try:
        weights_file(pretrained)
    except (InputError, MissingExtraError):
        return True
    return False


def pretrained_force_field(path: str | Path, settings: Mapping[str, Any]) -> ForceField:
    """Read weights as a force field: a file that a force field saved, a checkpoint of ``sevenn`` or ``chgnet``, a model of MACE.

    Parameters
    ----------
    path
        The file; which of them it is stands in it.
    settings
        Settings to change, such as ``fit_learning_rate`` and ``freeze``; not what decides the shapes of the weights.

    Raises
    ------
    ArtifactError
        If it is none of them, or damaged.
    InputError
        For a setting that the force field does not have, or that asks for other weights; for a model that is not read here.
    MissingExtraError
        For a model of MACE where ``mace-torch`` is not installed.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> path = get_force_field("local", species=["Cu"]).save("copper.ff")
    >>> pretrained_force_field(path, {"fit_steps": 40}).settings["fit_steps"]
    40
    >>> pretrained_force_field(path, {"cutoff": 4.0})
    Traceback (most recent call last):
    idealflow.errors.InputError: pretrained weights bring cutoff with them, which cannot be changed; leave it out
    """
    path = Path(path)
    with path.open("rb") as handle:
        ours = handle.read(1) == b"{"
    if ours:
        return _changed(load_force_field(path), settings)
    return _changed(_foreign(path), settings)


def _foreign(path: Path) -> ForceField:
    """Weights that another package wrote."""
    from idealflow.forcefields.chgnet import CHGNetForceField, from_chgnet
    from idealflow.forcefields.mace import MACEForceField, from_mace
    from idealflow.forcefields.sevennet import SevenNetForceField, from_sevennet

    readers: list[tuple[Any, Any, dict[str, Any]]] = [
        (from_sevennet, SevenNetForceField, {"pretrained": None}),
        (from_chgnet, CHGNetForceField, {"pretrained": None}),
        (from_mace, MACEForceField, {}),
    ]
    for read, kind, others in readers:
        try:
            architecture, weights = read(path)
        except ArtifactError as error:
            cause = error
            continue
        made: ForceField = kind.with_weights(architecture, weights, **others)
        return made
    raise ArtifactError(
        f"{path} holds no weights that can be read: neither a force field that idealflow saved, nor a whole checkpoint of sevenn "
        f"or chgnet, nor a whole model of mace-torch ({cause})"
    ) from cause


def _changed(force_field: ForceField, settings: Mapping[str, Any]) -> ForceField:
    """The force field with other settings of learning."""
    if not settings:
        return force_field
    now = getattr(force_field, "settings", None)
    changed = getattr(force_field, "with_settings", None)
    if now is None or changed is None:
        raise InputError(
            f"the force field {force_field.name!r} takes no settings beside its weights, got {', '.join(settings)}; leave "
            "them out"
        )
    learning = ("fit_steps", "batch_size", "fit_learning_rate", "precision", "freeze", "polish_steps")
    for name in settings:
        if name in now and name not in learning:
            raise InputError(f"pretrained weights bring {name} with them, which cannot be changed; leave it out")
    try:
        made: ForceField = changed(**settings)
    except TypeError as error:
        raise InputError(
            f"the force field {force_field.name!r} has no such setting: {error}; beside its weights it takes "
            f"{', '.join(name for name in learning if name in now or name == 'freeze')}"
        ) from error
    return made


def check_species(force_field: ForceField, species: Sequence[str], what: str) -> None:
    """Refuse weights that do not know every species.

    Raises
    ------
    InputError
        Naming those that are unknown.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> check_species(get_force_field("local", species=["Cu"]), ["Cu", "O"], "copper.ff")
    Traceback (most recent call last):
    idealflow.errors.InputError: the weights copper.ff do not know O; they know Cu; take others, or learn from scratch
    """
    if unknown := [symbol for symbol in species if symbol not in force_field.species]:
        raise InputError(
            f"the weights {what} do not know {', '.join(unknown)}; they know {', '.join(force_field.species)}; take others, or "
            "learn from scratch"
        )


def kept_structures(
    force_field: Startable, anchor: int | Sequence[Atoms], seed: int
) -> tuple[Sequence[Atoms], Sequence[Atoms]]:
    """Structures that hold a force field, and those that say how far it moves.

    Parameters
    ----------
    force_field
        Whose species the structures are made of.
    anchor
        How many small crystals are made to hold it; or structures, of which every third says how far it moves and the others
        hold it.
    seed
        Seed of the crystals.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> [len(part) for part in kept_structures(get_force_field("local", species=["Cu", "O"]), 36, seed=1)]
    [36, 24]
    """
    if isinstance(anchor, int):
        made = varied_crystals(force_field.species, anchor + _OUTSIDE, seed)
        return made[:anchor], made[anchor:]
    rows = range(len(anchor))
    return [anchor[i] for i in rows if i % 3 != 2], [anchor[i] for i in rows if i % 3 == 2]
