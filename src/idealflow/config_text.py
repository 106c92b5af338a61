"""Reading and writing configs: YAML in which ``1e3`` is a number and a key may be given only once.

A config may name a calculator whose module lies beside it. Nothing heavy is imported here, so that a config which cannot be
read is refused at once.
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

#: floats of YAML 1.2 that PyYAML, which follows YAML 1.1, reads as text: 1e3, 1E-2, 2.5e4, -.5
_FLOAT = re.compile(r"[-+]?(?:(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+|\.\d[\d_]*)\Z")
_LARGEST_WHOLE = 1e15  # larger floats are dumped with an exponent from 1e16 on, and have to be read as floats again
_FLOAT_TAG = "tag:yaml.org,2002:float"
_MERGE_TAG = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, extended: it reads the floats of YAML 1.2 and refuses a key given twice."""

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
        """Number of a float's text; 2e2 and 2.5e2 give whole numbers, as engines want them, and 1e999 stays text."""
        if not _FLOAT.match(node.value):
            return float(self.construct_yaml_float(node))
        value = float(node.value.replace("_", ""))
        if not math.isfinite(value):
            return str(node.value)
        whole = "e" in node.value.lower() and value.is_integer() and abs(value) < _LARGEST_WHOLE
        return int(value) if whole else value


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, extended: it quotes texts that the loader would take for numbers."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+.0123456789"))
_Loader.add_constructor(_FLOAT_TAG, _Loader.construct_number)


def load_yaml(text: str) -> Any:
    r"""Read a YAML text into plain data (mappings, lists, numbers, text, truth values, None).

    Raises
    ------
    InputError
        If a key is given twice; the message names it and both lines.
    yaml.YAMLError
        If the text is no YAML.

    Examples
    --------
    >>> load_yaml("steps: 1e3\ntimestep_fs: 2.5\nspecies: [Cu, Ag]")
    {'steps': 1000, 'timestep_fs': 2.5, 'species': ['Cu', 'Ag']}
    >>> load_yaml("seed: 1\nseed: 2")
    Traceback (most recent call last):
    idealflow.errors.InputError: line 2: the key 'seed' is given twice, first in line 1; keep one
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506  # a safe loader


def dump_yaml(data: Any) -> str:
    """Write plain data as a YAML text, keys in the order they have; :func:`load_yaml` reads the same data from it.

    Examples
    --------
    Text that looks like a number is quoted, so that it comes back as text:

    >>> print(dump_yaml({"seed": 1, "name": "1e3"}), end="")
    seed: 1
    name: '1e3'
    """
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False))


def read_config(path: Path) -> dict[str, Any]:
    r"""Read a config file into plain data, ``import_from`` added by :func:`with_import_folder` where it is needed.

    Raises
    ------
    InputError
        If the file does not exist, is a folder, is no YAML or no mapping, or gives a key twice; the message is one line.

    Examples
    --------
    >>> path = Path("config.yaml")
    >>> _ = path.write_text("name: melt\nseed: 7")
    >>> read_config(path)
    {'name': 'melt', 'seed': 7}
    >>> read_config(Path("absent.yaml"))
    Traceback (most recent call last):
    idealflow.errors.InputError: config absent.yaml does not exist; `idealflow init cu-melt > absent.yaml` writes one
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
    """Add ``import_from`` to the labeller's settings where its module is a file or folder beside the config.

    Parameters
    ----------
    settings
        A whole config; it is not changed.
    base
        The config's folder. A module that is installed or on PYTHONPATH is used from there, even if ``base`` holds one of
        the same name.

    Returns
    -------
    dict
        The settings; with ``label.labeller.import_from`` = ``base`` where that is needed.

    Raises
    ------
    InputError
        If the module is in neither place.

    Examples
    --------
    >>> _ = Path("my_potential.py").write_text("class Mine: ...")
    >>> settings = {"label": {"labeller": {"calculator": "my_potential.Mine"}}}
    >>> with_import_folder(settings, Path("."))["label"]["labeller"]
    {'calculator': 'my_potential.Mine', 'import_from': '.'}
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
