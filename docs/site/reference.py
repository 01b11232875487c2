"""The pages that are made when the site is built: every command, option, exit status, attack, defense and name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import bench
import bench.attacks
from bench import api

Rows = Sequence[Sequence[str]]


def commands() -> str:
    """Return every command with its arguments and options, as the command line declares them."""
    import typer

    from bench.cli.app import app
    from bench.cli.help import grouped

    root = typer.main.get_command(app)
    context = root.context_class(root, info_name="bench")  # type: ignore[attr-defined]
    parts = [
        "# Commands",
        str(root.help),
        "`bench COMMAND --help` prints the same in a terminal. [What the exit statuses mean](exit-statuses.md).",
    ]
    for title, found in grouped(root, context).items():
        parts.append(f"## {title}")
        for name, command in found.items():
            parts += _command(f"bench {name}", command, context)
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: Any, above: Any) -> Iterator[str]:  # noqa: ANN401  (click's own or Typer's copy of it)
    context = command.context_class(command, info_name=name.split()[-1], parent=above)
    usage = command.get_usage(context).partition(": ")[2]
    yield f"### {name}"
    yield _text(" ".join(str(command.help).split()))
    yield f"```\n{' '.join(usage.split())}\n```"
    if hasattr(command, "commands"):
        for each in command.list_commands(context):
            yield from _command(f"{name} {each}", command.commands[each], context)
        return
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    if arguments:
        yield _table(("argument", "what it is"), [(f"`{each.name}`", _told(each)) for each in arguments])
    if options:
        rows = [(_spelled(each, context), _told(each), _default(each), _code(each.envvar or "")) for each in options]
        yield _table(("option", "what it does", "default", "environment"), rows)


def _spelled(option: Any, context: Any) -> str:  # noqa: ANN401
    """Return an option as help shows it: `--n INTEGER`."""
    return _code(re.sub(r"<(.*?)>", lambda kind: kind[1].upper(), option.get_help_record(context)[0]))


def _told(parameter: Any) -> str:  # noqa: ANN401
    return _text(parameter.help or "") + (" **Required.**" if parameter.required else "")


def _default(option: Any) -> str:  # noqa: ANN401
    if isinstance(option.show_default, str):
        return _text(option.show_default)
    return "" if option.default in (None, "", False) else _text(str(option.default))


def options() -> str:
    """Return the options of a run, with what stands for each that is not given."""
    from bench.catalogue.options import BY_NAME, variable

    rows = []
    for name, each in BY_NAME.items():
        default = each.metadata["short"] or ("" if each.default in (None, "") else str(each.default))
        study = "yes" if each.metadata["study"] else ""
        rows.append((_code(name), _text(each.metadata["help"]), _text(default), _code(variable(name)), study))
    return f"""# Options of a run

Each is an option of [`bench run`](commands.md#bench-run) (`--n 512`), a keyword of
[`bench.run` and `bench.plan`](python.md) (`n=512`) and an environment variable. What you give outranks the environment,
the environment outranks a study, and a study outranks the default.

{_table(("option", "what it does", "default", "environment", "a study may fix it"), rows)}
"""


def exit_statuses() -> str:
    """Return the exit statuses, as the entry point of the command line promises them."""
    from bench.cli import main

    promised = re.sub(r"\s+", " ", (main.__doc__ or "").split("\n\n")[1]).strip(" .")
    rows = [each.partition(" ")[::2] for each in re.split(r", (?=\d)", promised)]
    return f"""# Exit statuses

Every command ends with one of these. A mistake in the request is told in one line, and nothing was computed.

{_table(("status", "means"), [(_code(status.replace("/", ", ")), _text(means)) for status, means in rows])}
"""


def attacks() -> str:
    """Return every registered attack by group, the families of threat models, and what `bench show` says of each."""
    from bench.catalogue import ATTACKS
    from bench.threats import FAMILIES

    parts = [
        "# Attacks",
        "An attack is named in `--attacks`, with parameters in brackets: `pgd-20[steps=50,n_restarts=5]`. *Cost* is an "
        "upper bound of forwards+backwards per example and draw. [How to choose](../attacks.md).",
    ]
    for group, title in {"lp": "Within an Lp ball", "non-lp": "Outside the Lp balls"}.items():
        rows = []
        for each in (each for each in ATTACKS if each.group == group):
            cost = "its parts'" if each.parts else f"{each.forwards}+{each.backwards}"
            name = f"[`{each.name}`](#{_anchor(each.name)})"
            rows.append((name, _text(each.summary), ", ".join(each.families), each.access, cost, _paper(each.cite)))
        parts += [f"## {title}", _table(("attack", "what it does", "threats", "access", "cost", "source"), rows)]
    families = [(_code(each.name), _text(each.unit), *each.eps) for each in FAMILIES.values()]
    parts += [
        "## Threat models",
        "Written `FAMILY:EPS`. The usual eps depends on the shorter side of the image, in pixels.",
        _table(("family", "what eps measures", "up to 16", "up to 64", "above"), families),
        "## Each attack",
        "What `bench show NAME` prints.",
        *_shown(ATTACKS.names()),
    ]
    return "\n\n".join(parts) + "\n"


def defenses() -> str:
    """Return every registered defense, the libraries of models, and what `bench show` says of each."""
    from bench.catalogue import DEFENSES
    from bench.catalogue.model_libraries import LIBRARIES
    from bench.catalogue.weights import datasets

    rows = []
    for each in DEFENSES:
        shipped = ", ".join(datasets(each.weight_names(each.config))) or "none"
        config = ", ".join(_code(f"{key}={value}") for key, value in each.config.items())
        name = f"[`{each.name}`](#{_anchor(each.name)})"
        rows.append((name, _text(each.summary), config, shipped, _paper(each.cite)))
    libraries = [
        (_code(f"{name}:NAME"), _text(each.summary), _code(f"pip install {each.distribution}"), _paper(each.cite))
        for name, each in LIBRARIES.items()
    ]
    parts = [
        "# Defenses",
        "A defense is named in `--defenses`, with parameters in brackets: `atop[rt=2]`. [Your own](../defenses.md).",
        _table(("defense", "what it is", "parameters", "weights shipped for", "source"), rows),
        "## Models of other libraries",
        _table(("name", "what it is", "requires", "source"), libraries),
        "## Each defense",
        "What `bench show NAME` prints, with the card of the weights for digits.",
        *_shown(DEFENSES.names()),
    ]
    return "\n\n".join(parts) + "\n"


def datasets() -> str:
    """Return the datasets and the studies."""
    from bench.catalogue import study
    from bench.datasets.names import SUMMARIES

    studies = []
    for name in study.names():
        each = study.read(name)
        fixed = " ".join(_code(f"--{key} {value}") for key, value in each.options.items())
        studies.append((_code(name), _text(each.title), fixed))
    return f"""# Datasets and studies

{_table(("dataset", "what it holds"), [(_code(name), _text(told)) for name, told in SUMMARIES.items()])}

[How to bring images](../datasets.md).

## Studies

A study fixes options of a run and reads the results as a ladder or as claims: `bench run --study ladder`.

{_table(("study", "asks", "fixes"), studies)}
"""


# The public names by what they are for; a new one stands below "More" until it has a place here.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "Compute": ("evaluate", "run", "plan"),
    "Read and compare": ("load", "gate", "Results", "Images"),
    "Describe what is attacked": ("Defense", "Card", "Examples", "ImageSpec", "ThreatModel"),
    "What is registered": ("ATTACKS", "DEFENSES", "Attack"),
    "Errors": ("BenchError",),
}


def python() -> str:
    """Return every public name of the package and of `bench.api`, for mkdocstrings to fill in."""
    placed = [name for names in _NAMES.values() for name in names]
    groups = {**_NAMES, "More": tuple(each for each in bench.__all__ if each not in placed)}
    parts = ["# Python, every name", f"`import bench`, version {bench.__version__}. [With examples](../api.md)."]
    for title, names in groups.items():
        if names:
            parts += [f"## {title}", *(f"::: bench.{name}" for name in names)]
    others = [name for name in dir(api) if name not in bench.__all__]
    parts += [
        "## The other commands",
        "What the commands do, as functions: `from bench import api`.",
        *(f"::: bench.api.{name}" for name in others),
    ]
    return "\n\n".join(parts) + "\n"


def attack_classes() -> str:
    """Return the classes of `bench.attacks`, for mkdocstrings to fill in."""
    parts = [
        "# Attack classes",
        "Each is a frozen dataclass whose fields are its parameters: `from bench.attacks import PGD`, then "
        '`PGD(steps=20)(model, x, y, "Linf:8/255")` '
        "returns `x_adv`. [More](../api.md#attacks-without-the-harness).",
    ]
    for name in bench.attacks.__all__:
        target = getattr(bench.attacks, name)
        parts.append(f"::: {target.__module__}.{name}\n    options:\n      heading_level: 2\n      members: false")
    return "\n\n".join(parts) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/commands.md": commands,
    "reference/options.md": options,
    "reference/exit-statuses.md": exit_statuses,
    "reference/attacks.md": attacks,
    "reference/defenses.md": defenses,
    "reference/datasets.md": datasets,
    "reference/python.md": python,
    "reference/attack-classes.md": attack_classes,
}


def _shown(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield f"### {name}"
        yield f"```text\n{api.about(name)}\n```"


def _paper(cite: str) -> str:
    """Return a link to what an entry cites where it is an arXiv id."""
    return f"[arXiv:{cite}](https://arxiv.org/abs/{cite})" if re.fullmatch(r"\d{4}\.\d{4,5}", cite) else _text(cite)


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(text: str) -> str:
    """Return text that Markdown shows as it is, in a table too."""
    return re.sub(r"([\\`*_{}\[\]|])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""
