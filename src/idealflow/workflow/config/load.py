"""Campaigns from YAML: a structure, and the fields of IdealMaker and its stages. Every key and value is checked."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from ase import Atoms
from jobflow import Maker
from pydantic import TypeAdapter, ValidationError

from idealflow.config_text import load_yaml, read_config
from idealflow.errors import Faults, InputError, did_you_mean
from idealflow.settings import Settings
from idealflow.workflow.campaign.checks import check_campaign
from idealflow.workflow.campaign.ideal import IdealMaker
from idealflow.workflow.config.misplaced import advice
from idealflow.workflow.config.spelling import present_spelling
from idealflow.workflow.frames.build import build_structure
from idealflow.workflow.jobs.progress import SPELLING, Progress, emit

__all__ = ["examine_config", "former_maker", "kept_maker", "load_config", "maker_from_settings"]


def load_config(path: str | Path, weights: Path | None = None) -> tuple[IdealMaker, Atoms, dict[str, Any]]:
    r"""Read and check a config file.

    Parameters
    ----------
    path
        The YAML file. File names in it are relative to its folder.
    weights
        A copy of pretrained weights from the campaign's artifacts, which is taken where the file that the config names is gone.

    Returns
    -------
    maker, atoms, settings
        The campaign's Maker; its frame at step 0; and the config as plain data, with absolute file names and with the keys
        that have another name now under that name.

    Raises
    ------
    InputError
        With one readable message: a missing file, YAML that cannot be read, an unknown key, an impossible value.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from idealflow.workflow.config.load import load_config
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "copper.yaml"
    ...     text = "structure: {element: Cu, a: 3.6, cubic: true, repeat: 3}"
    ...     _ = file.write_text(f"{text}\ncampaign: copper\nlabel: {{labeller: {{calculator: ase.calculators.emt.EMT}}}}")
    ...     maker, atoms, settings = load_config(file)
    >>> maker.campaign, len(atoms), maker.label.method
    ('copper', 108, 'EMT')
    """
    maker, atoms, settings = examine_config(Path(path), Faults(first_only=True), weights)
    assert maker is not None and atoms is not None  # noqa: S101, PT018  # the first fault would have been raised
    return maker, atoms, settings


def examine_config(
    path: Path, faults: Faults, weights: Path | None = None
) -> tuple[IdealMaker | None, Atoms | None, dict[str, Any]]:
    r"""Read and check a config file to the end, whatever is wrong with it.

    Parameters
    ----------
    path
        The YAML file.
    faults
        Where what is wrong is collected, or raised.
    weights
        As of :func:`load_config`.

    Returns
    -------
    maker, atoms, settings
        As of :func:`load_config`; None for what could not be made.

    Raises
    ------
    InputError
        If the file cannot be read, or if only the first fault counts, for that.

    Examples
    --------
    >>> file = Path("copper.yaml")
    >>> _ = file.write_text("{structure: absent.cif, seeed: 1, relax: {max_step: 5}}")
    >>> faults = Faults()
    >>> examine_config(file, faults)[:2]
    (None, None)
    >>> print(*(str(fault).partition(";")[0].rpartition("/")[2] for fault in faults.found), sep="\n")
    unknown key seeed (did you mean 'seed'?)
    unknown key relax.max_step (did you mean 'max_steps'?)
    absent.cif does not exist
    """
    settings = read_config(path)
    maker, atoms = None, None
    with faults.collected():
        Settings()
    with faults.collected():
        settings, renamed = present_spelling(settings)
        for line in renamed:
            emit(Progress(SPELLING, message=line))
    settings = _with_absolute_files(settings, path.absolute().parent)
    with faults.collected():
        if "structure" not in settings:
            meant = [key for key in settings if did_you_mean(key, ["structure"])]
            written = f" (it has `{meant[0]}`)" if meant else ""
            raise InputError(
                f"config {path} has no `structure`{written}; give a file or a builder (element, crystal, a, repeat)"
            )
    with faults.collected():
        present = {key: value for key, value in settings.items() if key != "structure"}
        maker = _validated(IdealMaker, present, "", faults)
    if "structure" in settings:
        with faults.collected():
            atoms = build_structure(settings["structure"])
    if maker is not None and atoms is not None:
        check_campaign(maker, atoms, faults, weights)
    return maker, atoms, settings


def former_maker(path: Path) -> IdealMaker | None:
    """The campaign's Maker from a config that an earlier version kept; None if it is no config for this version.

    Examples
    --------
    >>> from pathlib import Path
    >>> from idealflow.workflow.config.load import former_maker
    >>> former_maker(Path("absent.yaml")) is None
    True
    """
    try:
        settings = read_config(path)
        return maker_from_settings({key: value for key, value in settings.items() if key != "structure"})
    except InputError:
        return None


def kept_maker(path: Path) -> IdealMaker:
    """The campaign's Maker from the config in its folder. The structure's file may be gone: it is not read.

    Raises
    ------
    InputError
        As :func:`load_config`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from idealflow.workflow.config.load import kept_maker
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "config.yaml"
    ...     _ = file.write_text("{structure: gone.cif, campaign: copper, threshold: 3.0}")
    ...     kept_maker(file).threshold
    3.0
    """
    settings = load_yaml(path.read_text(encoding="utf-8"))
    return maker_from_settings({key: value for key, value in settings.items() if key != "structure"})


def maker_from_settings(settings: dict[str, Any]) -> IdealMaker:
    """The campaign's Maker from a mapping of its fields, as a config has them; stages are mappings in it.

    Raises
    ------
    InputError
        Naming the key that is unknown, or the value that is impossible.

    Examples
    --------
    >>> from idealflow.workflow.config.load import maker_from_settings
    >>> maker_from_settings({"campaign": "copper", "screen": {"max_centres": 2}}).screen.max_centres
    2
    >>> maker_from_settings({"screen": {"max_center": 2}})
    Traceback (most recent call last):
    idealflow.errors.InputError: unknown key screen.max_center (did you mean 'max_centres'?); known: max_centres
    """
    present = present_spelling(settings)[0] if isinstance(settings, dict) else settings
    maker: IdealMaker = _validated(IdealMaker, present, "", Faults(first_only=True))
    return maker


def _validated(kind: type, settings: Any, where: str, faults: Faults) -> Any:
    """A Maker from a mapping: each field checked against its annotation. None where a fault was collected."""
    before = len(faults.found)
    if not isinstance(settings, dict):
        raise InputError(f"{where or 'the config'} must be a mapping, got {settings!r}")
    hints = get_type_hints(kind, include_extras=True)
    known = [entry.name for entry in fields(kind) if entry.name != "name"]
    for key in sorted(set(settings) - set(known), key=str):
        with faults.collected():
            raise InputError(f"unknown key {_path(where, key)}{advice(key, known)}; known: {', '.join(known)}")
    values = {}
    for key, value in settings.items():
        if key not in known:
            continue
        place = _path(where, key)
        with faults.collected():
            if place != "label.labeller":  # a calculator checks its own arguments
                _refuse_infinite(value, place)
            if isinstance(hints[key], type) and issubclass(hints[key], Maker):
                values[key] = _validated(hints[key], value, place, faults)
                continue
            try:
                values[key] = TypeAdapter(hints[key]).validate_python(value)
            except ValidationError as error:
                problems = error.errors()
                # where a value may be of several kinds, each kind says what is wrong by it
                told = dict.fromkeys(_lowered(one["msg"]) for one in problems)
                raise InputError(f"{place}: {' or '.join(told)}, got {problems[0]['input']!r}") from error
    if len(faults.found) > before:
        return None
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}" if where else str(error)) from error


def _refuse_infinite(value: Any, where: str) -> None:
    """Raise InputError for a number that is not finite, at any depth."""
    if isinstance(value, dict):
        for key, entry in value.items():
            _refuse_infinite(entry, _path(where, key))
    elif isinstance(value, list):
        for entry in value:
            _refuse_infinite(entry, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} must be a finite number, got {value}")


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _path(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _of_weights(bootstrap: dict[str, Any], base: Path) -> dict[str, Any]:
    """A copy in which pretrained weights and their anchor, where they are files and no name or number, are absolute."""
    found = dict(bootstrap)
    for key in ("pretrained", "anchor"):
        if isinstance(given := found.get(key), str) and (base / given).is_file():
            found[key] = str((base / given).resolve())
    return found


def _with_absolute_files(settings: dict[str, Any], base: Path) -> dict[str, Any]:
    """File names in a config are relative to the config itself; URLs stay."""

    def absolute(name: Any) -> Any:
        return str((base / name).resolve()) if isinstance(name, str) and "://" not in name else name

    def structure(entry: Any) -> Any:
        if isinstance(entry, dict) and "builder" in entry:
            return {key: structure(value) if key == "atoms" else value for key, value in entry.items()}
        if isinstance(entry, dict) and "file" in entry:
            return entry | {"file": absolute(entry["file"])}
        return absolute(entry)

    settings = dict(settings)
    if "structure" in settings:
        settings["structure"] = structure(settings["structure"])
    for key in ("artifacts", "work", "launchpad"):
        if settings.get(key) is not None:
            settings[key] = absolute(settings[key])
    bootstrap = settings.get("bootstrap")
    if isinstance(bootstrap, dict):
        bootstrap = _of_weights(bootstrap, base)
        for key in ("dataset", "campaign"):
            if key in bootstrap:
                bootstrap[key] = absolute(bootstrap[key])
        if isinstance(bootstrap.get("seeds"), list):
            bootstrap["seeds"] = [structure(entry) for entry in bootstrap["seeds"]]
        settings["bootstrap"] = bootstrap
    return settings
