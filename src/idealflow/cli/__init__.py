"""The program `idealflow`."""

from idealflow.cli.main import main

__all__ = ["main"]
