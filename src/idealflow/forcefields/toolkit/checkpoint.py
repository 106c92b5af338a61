"""Files of force fields: a line of JSON that says what the file is, then the weights and the state of the optimiser."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import torch

from idealflow.errors import ArtifactError

__all__ = ["read_checkpoint", "write_checkpoint"]

_FORMAT = 1


def write_checkpoint(path: str | Path, name: str, settings: dict[str, Any], state: dict[str, Any]) -> Path:
    r"""Write a force field to a file, atomically: after a crash the file has either its old or its complete new content.

    Equal states give equal bytes.

    Parameters
    ----------
    path
        Where to write.
    name
        Name of the force field in the registry.
    settings
        Arguments with which the force field is made again; plain JSON.
    state
        Tensors and plain values, such as ``torch.load(weights_only=True)`` reads.

    Returns
    -------
    pathlib.Path
        ``path``.

    Examples
    --------
    >>> path = write_checkpoint("copper.ff", "local", {"species": ["Cu"]}, {"weight": torch.ones(2)})
    >>> json.loads(path.read_bytes().partition(b"\n")[0])["force_field"]
    'local'
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    body = buffer.getvalue()
    header = {
        "force_field": name,
        "format": _FORMAT,
        "settings": settings,
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(json.dumps(header).encode() + b"\n" + body)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def read_checkpoint(path: str | Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the settings and the state that :func:`write_checkpoint` wrote, and verify their hash.

    Raises
    ------
    ArtifactError
        If the file is missing, cut short, damaged, no force field, another force field than ``name``, or of a newer format.

    Examples
    --------
    >>> path = write_checkpoint("copper.ff", "local", {"species": ["Cu"]}, {"weight": torch.ones(2)})
    >>> settings, state = read_checkpoint(path, "local")
    >>> settings, state["weight"].tolist()
    ({'species': ['Cu']}, [1.0, 1.0])
    >>> read_checkpoint(path, "other")
    Traceback (most recent call last):
    idealflow.errors.ArtifactError: copper.ff holds force field 'local' of format 1; expected 'other' up to 1
    """
    path = Path(path)
    try:
        line, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError as error:
        raise ArtifactError(f"force field {path} does not exist") from error
    try:
        header = json.loads(line)
        found, version, settings = header["force_field"], int(header["format"]), dict(header["settings"])
        size, digest = int(header["size"]), str(header["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is no force field of idealflow: its first line must say so as JSON") from error
    if found != name or version > _FORMAT:
        raise ArtifactError(
            f"{path} holds force field {found!r} of format {version}; expected {name!r} up to {_FORMAT}"
        )
    if len(body) != size or hashlib.sha256(body).hexdigest() != digest:
        raise ArtifactError(
            f"force field {path} is damaged: {len(body)} of {size} bytes, or another sha256 than recorded; restore it"
        )
    state: dict[str, Any] = torch.load(io.BytesIO(body), weights_only=True)
    return settings, state
