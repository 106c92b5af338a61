"""Commented configs that `idealflow init` prints."""

from __future__ import annotations

from importlib.resources import files

from idealflow.errors import InputError

__all__ = ["available_templates", "template"]


def available_templates() -> list[str]:
    """Names of the configs that ship with the package.

    Examples
    --------
    >>> from idealflow.workflow.config.templates import available_templates
    >>> available_templates()
    ['cu-melt', 'li-melt']
    """
    return sorted(
        entry.name.removesuffix(".yaml") for entry in files(__package__).iterdir() if entry.name.endswith(".yaml")
    )


def template(name: str) -> str:
    """Text of a commented config.

    Raises
    ------
    InputError
        For an unknown name, listing what there is.

    Examples
    --------
    >>> from idealflow.workflow.config.templates import template
    >>> template("li-melt").splitlines()[1]
    'campaign: li-melt'
    """
    if name not in available_templates():
        raise InputError(f"there is no config {name!r}; available: {', '.join(available_templates())}")
    return (files(__package__) / f"{name}.yaml").read_text()
