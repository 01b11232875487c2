"""Help that is as wide as the terminal, cuts no summary short and groups the commands by what they are for."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

# Wider than any terminal: the formatter takes the smaller of this and what the screen has.
_ANY = 10_000
# The modules of `bench.cli.commands`, in the order in which a user needs them, with their titles.
_GROUPS = {
    "measuring": "Measure",
    "reading": "Read what was measured",
    "guarding": "Hold it against what was measured before",
    "looking": "Look around",
}
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": _ANY}


class Commands(TyperGroup):
    """A group that lists its commands with their whole summaries, wrapped beside their names."""

    # Later versions of Typer bring their own click, so no class name fits all of them.
    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the lists of commands."""
        for title, commands in grouped(self, ctx).items():
            with formatter.section(title):
                formatter.write_dl([(name, each.get_short_help_str(limit=_ANY)) for name, each in commands.items()])


# Later versions of Typer bring their own click, so no class name fits all of them.
def grouped(group: Any, ctx: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401
    """Return the visible commands of a group by name, below the titles that help lists them under."""
    found: dict[str, dict[str, Any]] = {title: {} for title in [*_GROUPS.values(), "Commands"]}
    for name in group.list_commands(ctx):
        each = group.get_command(ctx, name)
        if each and not each.hidden:
            found[_group(each) if ctx.parent is None else "Commands"][name] = each
    return {title: commands for title, commands in found.items() if commands}


def _group(command: Any) -> str:  # noqa: ANN401
    """Return the title that a command stands below."""
    if isinstance(command, Commands):  # `bench results` and `bench baseline`, which hold commands themselves
        return _group(next(iter(command.commands.values())))
    package, _, module = str(getattr(command.callback, "__module__", "")).rpartition(".")
    return _GROUPS.get(module, "Commands") if package == "bench.cli.commands" else "Commands"
