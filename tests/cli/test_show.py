"""`bench list` and `bench show`: what they print is the text of `bench.report.listing`, or plain data."""

import json
import subprocess
import sys
import tomllib

import pytest

from bench.catalogue import study
from bench.cli.show import list_, show
from bench.report.listing import about, listing


@pytest.mark.parametrize("kind", ["attacks", "defenses", "datasets", "studies"])
def test_a_list_is_printed(kind, capsys):
    list_(kind, as_json=False)

    assert capsys.readouterr().out == listing(kind) + "\n"


@pytest.mark.parametrize("name", ["stadv", "atop[rt=2]"])
def test_what_is_known_of_one_is_printed(name, capsys):
    show(name, "digits")

    assert capsys.readouterr().out == about(name, "digits") + "\n"


def test_everything_listed_is_in_the_list_of_all_and_in_json(capsys):
    kinds = ("defenses", "attacks", "datasets", "studies")
    for kind in kinds:
        list_(kind, as_json=False)
    each = capsys.readouterr().out
    list_("all", as_json=False)
    assert capsys.readouterr().out.replace("\n\n", "\n") == each

    list_("all", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert tuple(told) == kinds
    assert [row["name"] for row in told["studies"]] == study.names()
    for row in told["studies"]:
        whole = tomllib.loads((study.FOLDER / f"{row['name']}.toml").read_text(encoding="utf-8"))
        assert row["options"].items() >= {key: whole[key] for key in ("defenses",)}.items()
        for part in ("title", "rungs", "beside"):
            assert row[part] == whole.get(part, [])
        assert [claim["name"] for claim in row["claims"]] == [claim["name"] for claim in whole.get("claims", [])]


def test_neither_imports_torch():
    code = (
        "import sys\n"
        "from bench.cli.show import list_, show\n"
        "list_('all', False)\n"
        "show('stadv', 'digits')\n"
        "show('apgd-ce', 'digits')\n"
        "show('atop[rt=2]', 'digits')\n"
        "sys.exit('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
