"""Help that is as wide as the terminal and cuts no summary short."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

# Wider than any terminal: the formatter takes the smaller of this and what the screen has.
_ANY = 10_000
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": _ANY}


class Commands(TyperGroup):
    """A group that lists its commands with their whole summaries, wrapped beside their names."""

    # Later versions of Typer bring their own click, so no class name fits all of them.
    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the list of commands."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, each.get_short_help_str(limit=_ANY)) for name, each in found if each and not each.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
