"""Code that nobody typed runs only after its digest was typed."""

import pytest

from bench.catalogue.identity import of_file
from bench.catalogue.trust import of_code, require_trusted
from bench.errors import BenchError

FILE = "def build():\n    return None\n"


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


def test_names_that_are_no_files_need_no_trust():
    require_trusted("at,atop[rt=2],timm:resnet18[weights=a.pt]", "defense", "study 'x'", [])


def test_the_refusal_names_who_names_it_the_file_and_what_to_type(mine):
    with pytest.raises(BenchError) as refused:
        require_trusted(f"at,{mine}:build[sigma=1]", "defense", "study 'theirs.toml'", [""])

    assert str(refused.value) == (
        f"study 'theirs.toml' names '{mine}', which is code and was not run: read it, then add --trust {of_code(mine)}"
    )
    require_trusted(f"at,{mine}:build[sigma=1]", "defense", "study", [of_code(mine)])
    require_trusted(f"at,{mine}:build[sigma=1]", "defense", "study", ["f" * 64, of_code(mine)[:16].upper()])


def test_code_that_changed_is_other_code(mine):
    before = of_code(mine)
    mine.write_text(FILE + "# changed\n")

    with pytest.raises(BenchError, match="was not run"):
        require_trusted(str(mine), "attack", "BENCH_ATTACKS", [before])


def test_a_module_beside_the_file_is_part_of_it(mine):
    assert of_code(mine) == of_file(mine)  # what sha256sum says, too
    mine.write_text("import beside\n" + FILE)
    (mine.parent / "beside.py").write_text("a = 1\n")
    before = of_code(mine)
    (mine.parent / "beside.py").write_text("a = 2\n")

    assert of_code(mine) != before != of_file(mine)


@pytest.mark.parametrize("digest", ["abc", "g" * 64, "yes"])
def test_what_is_no_digest_trusts_nothing(mine, digest):
    with pytest.raises(BenchError, match=f"--trust '{digest}' is no SHA-256 of code"):
        require_trusted(str(mine), "defense", "study", [digest])


def test_a_file_that_is_not_there_cannot_be_trusted(tmp_path):
    with pytest.raises(BenchError, match=r"cannot read .*missing\.py"):
        require_trusted(str(tmp_path / "missing.py"), "defense", "study", [])
