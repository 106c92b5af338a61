"""Site settings, from the environment: where files go and how many threads to use. Never science."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Settings of this site, each read from ``IDEALFLOW_<NAME>``."""

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
    uncertainty_device: str | None = Field(
        default=None,
        description="torch device of the SOAP uncertainty (cuda, cuda:1, cpu); default: numba. Results are exact for a fixed one",
    )
