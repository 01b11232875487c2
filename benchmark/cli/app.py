"""The command line with all of its commands."""

from __future__ import annotations

from bench.cli.commands import guarding, looking, measuring, reading
from bench.cli.root import app

__all__ = ["app", "guarding", "looking", "measuring", "reading"]
