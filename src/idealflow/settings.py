"""Settings of a machine, read from the environment: where files go and how many threads to use.

What decides a campaign's results stands in its config instead.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from idealflow.errors import InputError

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Settings of this machine, each read from the environment variable ``IDEALFLOW_<NAME>``.

    Raises
    ------
    InputError
        For an impossible value; the message names the variable.

    Examples
    --------
    >>> Settings(threads=2).threads  # as with IDEALFLOW_THREADS=2
    2
    >>> Settings(threads=0)
    Traceback (most recent call last):
    idealflow.errors.InputError: IDEALFLOW_THREADS: input should be greater than or equal to 1, got 0
    """

    model_config = SettingsConfigDict(env_prefix="IDEALFLOW_", extra="ignore")

    artifacts: str | None = Field(
        default=None, description="root URL of artifact stores; default: ./idealflow_artifacts"
    )
    work: str | None = Field(
        default=None, description="local folder for files in progress; default: beside the artifacts"
    )
    threads: int = Field(
        default=1, ge=1, description="threads of numba and torch; results are exact for a fixed number"
    )
    cores: int | None = Field(
        default=None, ge=1, description="cores that `idealflow run` gives out to jobs; default: those at hand"
    )
    memory_gb: float | None = Field(
        default=None,
        gt=0,
        description="memory, GB, that it gives out to labels with `memory_gb`; default: this machine's",
    )
    force_field_device: str | None = Field(
        default=None,
        description="torch device of message-passing force fields (cuda, cuda:1); default: cpu; exact for a fixed one",
    )
    uncertainty_device: str | None = Field(
        default=None,
        description="torch device of the SOAP uncertainty (cuda, cuda:1, cpu); default: numba. Results are exact for a fixed one",
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problem = error.errors()[0]
            name = "_".join(str(part) for part in problem["loc"]).upper()
            raise InputError(f"IDEALFLOW_{name}: {problem['msg'].lower()}, got {problem['input']!r}") from error
