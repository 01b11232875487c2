"""The options of a run: one record, and the command line, studies, `BENCH_*` and the API agree with it."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest
import typer

from bench.catalogue import study
from bench.catalogue.options import BY_NAME, RunOptions, default_of, kind_of, names_for, of_studies, settled, variable
from bench.cli.app import app
from bench.errors import BenchError
from bench.threats import ThreatModel

COMMAND = typer.main.get_command(app).commands["run"]
TEXT = {str: "text", int: "7", Path: "some/folder"}


@pytest.fixture(autouse=True)
def _empty(monkeypatch):
    for name in BY_NAME:
        monkeypatch.delenv(variable(name), raising=False)


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("defenses = 'at'\nn = 32\nseed = 5\n")
    return str(path)


def test_the_command_line_has_every_option_as_it_is_declared():
    """Name, help, variable and default; besides them the three that are no options of a run."""
    shown = {each.name: each for each in COMMAND.params}

    assert set(shown) - {*BY_NAME, "help"} == {"csv", "dry_run", "debug"}
    for name, each in BY_NAME.items():
        assert shown[name].opts == [f"--{name.replace('_', '-')}"]
        # Names of code: that a variable has them, and nobody typed them, is for `settled` to find out.
        told = f" [env var: {variable(name)}]" if name in ("defenses", "attacks") else ""
        assert shown[name].help == each.metadata["help"] + told
        assert shown[name].envvar == (None if told or name == "trust" else f"BENCH_{name.upper()}")
        assert shown[name].default is None  # what is not given is nobody's wish
        default = each.metadata["short"] or each.default
        assert shown[name].show_default == (str(default) if default not in ("", None) else False)


def test_without_any_wish_the_defaults_hold():
    assert settled({}) == RunOptions()
    assert settled(dict.fromkeys(BY_NAME)) == RunOptions()
    for name, each in BY_NAME.items():
        assert default_of(name) == each.default
        assert each.default is None or isinstance(each.default, kind_of(name))


def test_what_a_study_may_fix_is_what_the_record_says(tmp_path):
    """With its type; any other option is no key of a study."""
    allowed = of_studies()
    assert set(allowed) == {name for name, each in BY_NAME.items() if each.metadata["study"]}
    for name in BY_NAME:
        path = tmp_path / f"{name}.toml"
        path.write_text(f"{name} = {7 if kind_of(name) is int else repr('at')}\n")
        if name in allowed:
            assert study.read(str(path)).options[name] == (7 if allowed[name] is int else "at")
        else:
            with pytest.raises(BenchError, match=f"unknown key of study .* '{name}'"):
                study.read(str(path))


@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in ("study", "trust")])
def test_what_is_given_outranks_the_environment_and_that_the_default(name, monkeypatch):
    kind = kind_of(name)
    monkeypatch.setenv(variable(name), TEXT[kind])

    assert getattr(settled({}), name) == default_of(name) == kind(TEXT[kind])
    other = {str: "other", int: 8, Path: Path("elsewhere")}[kind]
    assert getattr(settled({name: other}), name) == other
    assert dataclasses.replace(settled({}), **{name: BY_NAME[name].default}) == RunOptions()


def test_a_study_stands_between_the_environment_and_the_default(mine, monkeypatch):
    monkeypatch.setenv("BENCH_SEED", "6")
    monkeypatch.setenv("BENCH_STUDY", mine)

    assert settled({}) == RunOptions(defenses="at", n=32, seed=6, study=mine)
    assert settled({"n": 8, "seed": 9}) == RunOptions(defenses="at", n=8, seed=9, study=mine)


def test_an_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("BENCH_N", "")
    assert settled({}).n == RunOptions().n


@pytest.mark.parametrize("name", ["ladder", "atop-claims"])
def test_a_study_that_names_the_attacks_takes_no_others(name):
    with pytest.raises(BenchError, match=f"--attacks 'fgsm': the .* of study '{name}' name the attacks; leave it out"):
        settled({"study": name, "attacks": "fgsm"})


def test_lists_are_joined_and_text_is_read():
    chosen = settled(
        {
            "defenses": ["at", "ap[rt=1]"],
            "attacks": ("fgsm",),
            "threat": [ThreatModel.parse("Linf:8/255"), "L2:0.5"],
            "n": "16",
            "results": "here",
        }
    )

    assert chosen == RunOptions("at,ap[rt=1]", "fgsm", threat="Linf:8/255,L2:0.5", n=16, results=Path("here"))
    assert settled({"threat": ThreatModel.parse("Linf:8/255")}).threat == "Linf:8/255"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"atacks": "fgsm"}, "unknown option 'atacks': did you mean attacks"),
        ({"n": 1.5}, "n 1.5 is float: give a whole number"),
        ({"n": True}, "n True is bool: give a whole number"),
        ({"n": "many"}, "n 'many' is not a whole number"),
        ({"defenses": 3}, "defenses 3 is int: give text"),
        ({"results": 3}, "results 3 is int: give a path"),
    ],
)
def test_a_wrong_name_or_type_is_one_line(given, said):
    with pytest.raises(BenchError) as error:
        settled(given)

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_variable_is_named(monkeypatch):
    monkeypatch.setenv("BENCH_DRAWS", "many")
    with pytest.raises(BenchError, match="BENCH_DRAWS 'many' is not a whole number"):
        settled({})


@pytest.mark.parametrize("name", ["dataset", "checks", "precision", "executor", "study"])
def test_what_is_completed_holds_the_default(name):
    """Where there is one."""
    assert BY_NAME[name].default in ("", *names_for(name))


def test_the_record_is_the_only_place_of_a_default():
    """No function of the API names one of its own beside it."""
    from bench import api

    for function in (api.run, api.plan):
        assert set(inspect.signature(function).parameters) == {"watcher", "options"}
    shared = {name: each.default for name, each in inspect.signature(api.check).parameters.items() if name in BY_NAME}
    assert shared == {name: BY_NAME[name].default for name in shared}


def test_trust_is_typed_and_comes_from_nowhere_else(monkeypatch):
    monkeypatch.setenv("BENCH_TRUST", "0" * 64)

    assert variable("trust") == ""
    assert settled({}).trust == default_of("trust") == ""
    assert settled({"trust": "1" * 64}).trust == "1" * 64
