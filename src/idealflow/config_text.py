"""Configs as text: YAML with the numbers that people write, each key once, and calculators found beside the config.

Nothing heavy is imported here, so that a config which cannot be read is refused at once.
"""

from __future__ import annotations

import math
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from idealflow.errors import InputError

__all__ = ["dump_yaml", "load_yaml", "read_config", "with_import_folder"]

#: floats of YAML 1.2 that YAML 1.1, and so PyYAML, takes for text: 1e3, 1E-2, 2.5e4, -.5
_FLOAT = re.compile(r"[-+]?(?:(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+|\.\d[\d_]*)\Z")
_LARGEST_WHOLE = 1e15  # floats beyond 1e16 are dumped with an exponent, and have to come back as floats
_FLOAT_TAG = "tag:yaml.org,2002:float"
_MERGE_TAG = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with the floats of YAML 1.2, that refuses a key given twice."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node: Any = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE_TAG:
                continue
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in first:
                raise InputError(
                    f"line {line}: the key {key.value!r} is given twice, first in line {first[name]}; keep one"
                )
            first[name] = line
        return node

    def construct_number(self, node: yaml.ScalarNode) -> int | float | str:
        """The number that was meant: 2e2 and 2.5e2 are whole, as engines want them; too large for a float, it stays text."""
        if not _FLOAT.match(node.value):
            return float(self.construct_yaml_float(node))
        value = float(node.value.replace("_", ""))
        if not math.isfinite(value):
            return str(node.value)
        whole = "e" in node.value.lower() and value.is_integer() and abs(value) < _LARGEST_WHOLE
        return int(value) if whole else value


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, that quotes texts which the loader would take for numbers."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+.0123456789"))
_Loader.add_constructor(_FLOAT_TAG, _Loader.construct_number)


def load_yaml(text: str) -> Any:
    """Plain data of a YAML text.

    Raises
    ------
    InputError
        If a key is given twice, naming it and both lines.
    yaml.YAMLError
        If the text is no YAML.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506  # a safe loader


def dump_yaml(data: Any) -> str:
    """YAML text of plain data, keys in their order, from which :func:`load_yaml` makes the same data."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False))


def read_config(path: Path) -> dict[str, Any]:
    """A config file as plain data.

    Raises
    ------
    InputError
        With one readable message: no such file, a folder, no YAML, no mapping, a key given twice.
    """
    try:
        if path.is_dir():
            raise InputError(f"config {path} is a folder; give the YAML file in it")
        if not path.is_file():
            raise InputError(f"config {path} does not exist; `idealflow init cu-melt > {path}` writes one")
        settings = load_yaml(path.read_text())
    except OSError as error:
        raise InputError(f"config {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"config {path} is no YAML: {' '.join(str(error).split())}") from error
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"config {path}, {error}") from error
    if not isinstance(settings, dict):
        raise InputError(f"config {path} must be a mapping of settings, got {type(settings).__name__}")
    return with_import_folder(settings, path.absolute().parent)


def with_import_folder(settings: dict[str, Any], base: Path) -> dict[str, Any]:
    """The settings, with ``import_from`` set where the labeller's module is a file beside the config.

    Parameters
    ----------
    base
        The config's folder. A module that is installed or on PYTHONPATH is taken from there.

    Raises
    ------
    InputError
        If the module is in neither place.
    """
    label = settings.get("label")
    if not isinstance(label, dict):
        return settings
    labeller = label.get("labeller")
    if not isinstance(labeller, dict) or "import_from" in labeller:
        return settings
    key = "calculator" if "calculator" in labeller else "maker"
    module, _, rest = str(labeller.get(key, "")).partition(".")
    if not rest or not module.isidentifier() or _is_importable(module):
        return settings
    if not ((base / f"{module}.py").is_file() or (base / module).is_dir()):
        raise InputError(
            f"label.labeller.{key}: cannot import {labeller[key]!r}, there is no module {module!r} beside the config, on "
            f"PYTHONPATH, or installed; put {module}.py into {base}, or set PYTHONPATH to its folder"
        )
    return settings | {"label": label | {"labeller": labeller | {"import_from": str(base)}}}


def _is_importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # a module that runs has no spec, such as __main__
        return False
