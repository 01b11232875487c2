"""Any combination of options is answered: with a table or a plan, or with one line."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.fuzz import examples, files, told

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "format-3"

NAMES = [
    "at",
    "atop",
    "ap",
    "standard",
    "default",
    "all",
    "AT",
    "atop[rt=2]",
    "atop[rt=9]",
    "at[]",
    "x",
    "./mine.py",
    "",
]
ATTACKS = ["fgsm", "pgd-20", "autoattack", "stadv", "lp", "none", "seen", "pgd-20[steps=3]", "pgd-20[steps=0]", "", "x"]
THREATS = ["Linf", "Linf:0.2", "L2:1", "stadv:0.4", "Linf:8", "Linf:nan", "L0:1", "linf:1/5", "", "Linf:", ":"]
NUMBERS = [
    "0",
    "1",
    "2",
    "-1",
    "256",
    "10000",
    "1e3",
    "2.5",
    "nan",
    "abc",
    "",
    "99999999999999999999",
    "0x10",
    "\u0663",
]
PATHS = [
    "results",
    "empty",
    "file",
    "nowhere",
    "results/digits",
    "",
    "a\0b",
    "x" * 300,
    "results/..",
    "\udcff",
    "/dev/null",
]
SHARES = ["0", "0.01", "0.4", "1", "nan", "inf", "-1", "2", "x", ""]
TEXT = st.text(max_size=12).filter(lambda text: not text.startswith("-"))

OPTIONS = {
    "--defenses": st.lists(st.sampled_from(NAMES), max_size=3).map(",".join),
    "--attacks": st.lists(st.sampled_from(ATTACKS), max_size=3).map(",".join),
    "--threat": st.lists(st.sampled_from(THREATS), max_size=3).map(",".join),
    "--dataset": st.sampled_from(["digits", "DIGITS", "cifar10", "imagefolder:empty", "imagefolder:", ""]),
}
OF_RUN = OPTIONS | {
    "--eps": st.sampled_from(["0.1", "0.1,0.2", "8", ",", "nan"]),
    "--n": st.sampled_from(NUMBERS),
    "--seed": st.sampled_from(NUMBERS),
    "--draws": st.sampled_from(NUMBERS),
    "--batch": st.sampled_from(NUMBERS),
    "--jobs": st.sampled_from(NUMBERS),
    "--device": st.sampled_from(["cpu", "auto", "cuda:7", "mps", "", "CPU"]),
    "--executor": st.sampled_from(["auto", "local", "processes", "moon", ""]),
    "--checks": st.sampled_from(["auto", "all", "none", "some", ""]),
    "--despite": st.sampled_from(["S05", "s14,S01", "S99", ",", "x"]),
    "--precision": st.sampled_from(["float32", "auto", "bf16", ""]),
    "--study": st.sampled_from(["ladder", "quick", "nope", "file", "nope.toml", ""]),
    "--label": st.one_of(st.sampled_from(["new", "../x", "<b>", ""]), TEXT),
    "--results": st.sampled_from(PATHS),
    "--weights": st.sampled_from(PATHS),
    "--data": st.sampled_from(PATHS),
}
STORED = OPTIONS | {"--results": st.sampled_from(["results", "results", "results", *PATHS])}
COMMANDS = {
    "run --dry-run": OF_RUN,
    "table": STORED | {"--columns": TEXT, "--format": st.sampled_from(["grid", "latex", "x"]), "--fit": TEXT},
    # A file that is named here is one to write: what is to stay as it is may not be offered.
    "leaderboard": STORED
    | {"--csv": st.sampled_from([path for path in PATHS if path not in ("results", "nowhere", "file")])},
    "gate": STORED
    | {
        "--baseline": st.sampled_from(PATHS),
        "--floor": st.one_of(
            st.sampled_from(["at/fgsm=0.1", "at/standard=1", "x/fgsm=0", "at/fgsm@Linf:0.2=0.5"]), TEXT
        ),
        "--alpha": st.sampled_from(SHARES),
        "--min-effect": st.sampled_from(SHARES),
        "--must-detect": st.sampled_from(SHARES),
    },
    "history results": OPTIONS | {"--last": st.sampled_from(NUMBERS), "--git": st.sampled_from(PATHS)},
    "compare at atop": STORED | {"--with": st.sampled_from(PATHS), "--format": st.sampled_from(["grid", "latex", "x"])},
    "curve": STORED | {"--points": st.sampled_from(NUMBERS)},
    "images at fgsm --out empty/new": STORED,
    "baseline update --dry-run": {"--baseline": st.sampled_from(PATHS), "--results": st.sampled_from(PATHS)},
    "results list": {"--results": st.sampled_from(PATHS)},
    "results verify": {"--results": st.sampled_from(PATHS)},
    "results prune --dry-run": {"--results": st.sampled_from(PATHS)},
    "show at": {"--dataset": st.one_of(OPTIONS["--dataset"], TEXT)},
}
# Names that are typed without an option.
ARGUMENTS = {
    "show": TEXT,
    "list": TEXT,
    "example": TEXT,
    "audit": st.one_of(st.sampled_from(PATHS), TEXT),
    "download": TEXT,
}


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    root = tmp_path_factory.mktemp("options")
    shutil.copytree(GOLDEN, root / "results")
    (root / "empty").mkdir()
    (root / "file").write_text("mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("COLUMNS", "120")
        yield root


@st.composite
def lines(draw, command):
    chosen = draw(st.lists(st.sampled_from(sorted(COMMANDS[command])), max_size=4, unique=True))
    return [*command.split(), *(word for name in chosen for word in (name, draw(COMMANDS[command][name])))]


@pytest.mark.bad_input("B46")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_combination_of_options_is_answered(command, there, record_property):
    tried = []
    assert Path.cwd() == there

    @examples(12, 400)
    @given(lines(command))
    def fuzz(words):
        tried.append(words)
        before = files("results")
        told(words)
        assert files("results") == before
        assert Path("file").read_text() == "mine"

    fuzz()
    record_property("injections", len(tried))


@pytest.mark.bad_input("B45")
@pytest.mark.parametrize("command", ARGUMENTS)
def test_every_name_is_answered(command, there, record_property):
    tried = []
    assert Path.cwd() == there

    @examples(12, 400)
    @given(ARGUMENTS[command])
    def fuzz(name):
        tried.append(name)
        assert told([command, "--", name])[0] in (0, 2)

    fuzz()
    record_property("injections", len(tried))
