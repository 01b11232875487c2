from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import _compat
from bench._compat import Repair


def run(code: str, *, path: Path | None = None) -> Any:
    """What a fresh Python prints as JSON, with `path` before the installed packages."""
    rest = os.environ.get("PYTHONPATH")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(path), rest)))} if path else None
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def write_modules(root: Path, **modules: str) -> Path:
    for name, code in modules.items():
        (root / name).mkdir()
        (root / name / "__init__.py").write_text(textwrap.dedent(code))
    return root


REPORT = """
import json, sys
from bench import _compat
from bench.errors import BenchError
try:
    module = _compat.{call}()
    text = module.word
except BenchError as error:
    text = f"BenchError: {{error}}"
parts = ("pkg_resources", "autoattack", "robustbench", "robustbench.whole", "torchvision", "torchvision.part")
left = [name for name in parts if name in sys.modules]
print(json.dumps([text, [repair.name for repair in _compat.active()], left]))
"""

# Says what torchvision's import says where its operators did not load.
NEEDY = """
import torch
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        raise RuntimeError(f"operator torchvision::{name} does not exist")
word = "mended" if torch.declared else "whole"
"""

TORCH = """
import sys, types
declared = []
ops = types.SimpleNamespace(torchvision=types.SimpleNamespace({present}))
class Library:
    def __init__(self, namespace, kind):
        assert namespace == "torchvision"
    def define(self, schema):
        name = schema.partition("(")[0]
        declared.append(name)
        setattr(ops.torchvision, name, schema)
library = types.SimpleNamespace(Library=Library)
"""


@pytest.mark.parametrize(
    ("present", "word", "names"),
    [
        ("nms=1, qnms=1", "whole", []),
        ("nms=1", "mended", ["torchvision operators"]),
        ("", "mended", ["torchvision operators"]),
    ],
    ids=["both operators", "one missing", "both missing"],
)
def test_torchvision_is_mended_only_where_operators_are_missing(
    tmp_path: Path, present: str, word: str, names: list[str]
) -> None:
    """Missing operators are declared and reported; whole installations are left alone."""
    write_modules(tmp_path, torch=TORCH.format(present=present), torchvision=NEEDY)

    text, active, _ = run(REPORT.format(call="torchvision"), path=tmp_path)

    assert text == word
    assert active == names


def test_a_mended_torchvision_has_all_its_parts(tmp_path: Path) -> None:
    """Parts imported before the failure belong to the package that is left, not to the one that failed."""
    code = f"import torchvision.part\n{NEEDY}\nword = torchvision.part.word"
    write_modules(tmp_path, torch=TORCH.format(present=""), torchvision=code)
    (tmp_path / "torchvision" / "part.py").write_text("word = 'part'")

    text, _, left = run(REPORT.format(call="torchvision"), path=tmp_path)

    assert text == "part"
    assert left == ["torchvision", "torchvision.part"]


def test_only_the_missing_operator_is_declared(tmp_path: Path) -> None:
    """An operator that torchvision did load is never declared again."""
    write_modules(tmp_path, torch=TORCH.format(present="nms=1"), torchvision=NEEDY)
    code = "import json, torch; from bench import _compat; _compat.torchvision(); print(json.dumps(torch.declared))"

    declared = run(code, path=tmp_path)

    assert declared == ["qnms"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('built for\\nMars')", "torchvision does not import (built for Mars): pip install"),
        ("raise RuntimeError('torchvision::nms is of no use')", "torchvision does not import (torchvision::nms is of"),
        ("import no_such_module", "torchvision does not import (No module named 'no_such_module'): pip install"),
    ],
    ids=["another error", "mended in vain", "missing dependency"],
)
def test_a_torchvision_beyond_repair_is_one_line_with_a_command(tmp_path: Path, code: str, message: str) -> None:
    """The reason and the command, no traceback; nothing is claimed to be mended."""
    write_modules(tmp_path, torch=TORCH.format(present=""), torchvision=code)

    text, active, left = run(REPORT.format(call="torchvision"), path=tmp_path)

    assert text.startswith(f"BenchError: {message}")
    assert "\n" not in text
    assert (active, left) == ([], [])


WHOLE = {
    "torchvision": "word = 'whole'",
    "robustbench": "import pkg_resources, autoattack; word = pkg_resources.word + autoattack.word",
    "pkg_resources": "word = 'real'",
    "autoattack": "word = 'real'",
}


def test_packages_that_are_whole_are_left_alone(tmp_path: Path) -> None:
    """With real `autoattack` and `pkg_resources` installed nothing is put in their place or taken away."""
    write_modules(tmp_path, **WHOLE)

    text, active, left = run(REPORT.format(call="robustbench"), path=tmp_path)

    assert text == "realreal"
    assert active == []
    assert left == ["pkg_resources", "autoattack", "robustbench", "torchvision"]


def test_a_robustbench_that_needs_no_repair_gets_none(tmp_path: Path) -> None:
    """Once upstream has dropped both imports, no stand-in is made, whatever is installed."""
    write_modules(tmp_path, torchvision="", robustbench="word = 'mended upstream'")

    text, active, left = run(REPORT.format(call="robustbench"), path=tmp_path)

    assert text == "mended upstream"
    assert active == []
    assert left == ["robustbench", "torchvision"]


@pytest.mark.skipif(importlib.util.find_spec("pkg_resources") is not None, reason="this setuptools has pkg_resources")
def test_the_pkg_resources_stand_in_is_for_robustbench_alone(tmp_path: Path) -> None:
    """It finds files beside a module, also later, and no one else can import it."""
    code = """
        import pkg_resources
        word = pkg_resources.resource_filename(__name__, "model_info/a.txt")
    """
    write_modules(tmp_path, torchvision="", robustbench=code)

    text, active, left = run(REPORT.format(call="robustbench"), path=tmp_path)

    assert text == str(tmp_path / "robustbench" / "model_info" / "a.txt")
    assert active == ["pkg_resources"]
    assert left == ["robustbench", "torchvision"]


def test_a_robustbench_beyond_repair_is_one_line_and_leaves_no_trace(tmp_path: Path) -> None:
    """A half-imported package does not stay behind to fail later in another way."""
    write_modules(tmp_path, torchvision="", robustbench="import robustbench.whole; import no_such_module")
    (tmp_path / "robustbench" / "whole.py").touch()

    text, _, left = run(REPORT.format(call="robustbench"), path=tmp_path)

    assert text.startswith("BenchError: robustbench does not import (No module named 'no_such_module'): pip install")
    assert left == ["torchvision"]


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not installed is said as such."""
    error = ModuleNotFoundError("No module named 'torchvision'", name="torchvision")

    assert str(_compat._unusable("torchvision", error)) == "torchvision is not installed: pip install torchvision"


@pytest.mark.slow
def test_robustbench_evaluates_a_model_end_to_end(tmp_path: Path) -> None:
    """`robustbench.eval.benchmark` runs AutoAttack on a real module, and every repair was needed."""
    log = tmp_path / "aa.log"
    code = f"""
        import importlib.util, json, sys
        import torch
        needed = [name for name in ("autoattack", "pkg_resources") if importlib.util.find_spec(name) is None]
        try:
            import torchvision
        except RuntimeError:
            needed.append("torchvision operators")
        from bench import _compat
        robustbench = _compat.robustbench()
        import robustbench.eval
        torch.manual_seed(0)
        x = torch.rand(8, 3, 32, 32)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10)).eval()
        y = net(x).argmax(1)
        robustbench.eval.load_clean_dataset = lambda *args, **kwargs: (x, y)
        clean, robust = robustbench.eval.benchmark(
            net, n_examples=8, dataset="cifar10", threat_model="Linf", eps=0.1, log_path={str(log)!r}
        )
        visible = "pkg_resources" in sys.modules
        print(json.dumps([sorted(needed), sorted(r.name for r in _compat.active()), clean, robust, visible]))
    """.replace("        ", "")

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    needed, active, clean, robust, visible = json.loads(done.stdout.splitlines()[-1])
    assert active == needed
    assert (clean, robust) == (1.0, 0.0)
    assert not visible or "pkg_resources" not in needed
    assert "robust accuracy after APGD-CE: 0.00%" in log.read_text()


@pytest.fixture
def alias() -> Iterator[Any]:
    """The stand-in for `autoattack`, gone again after the test."""
    before, active = set(sys.modules), dict(_compat._active)
    yield _compat._autoattack()
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "autoattack":
            del sys.modules[name]
    _compat._active.clear()
    _compat._active.update(active)


@pytest.fixture
def linear() -> Any:
    """A model, eight images and their labels."""
    import torch

    generator = torch.Generator().manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(3, 12, generator=generator))
    x = torch.rand(8, 3, 2, 2, generator=generator)
    return net, x, net(x).argmax(1)


def test_the_alias_has_the_arguments_of_upstream(alias: Any, linear: Any, tmp_path: Path) -> None:
    """`bs`, `attacks_to_run`, `verbose`, `log_path`; a tensor comes back, or a pair with `return_labels`."""
    import torch

    net, x, y = linear
    log = tmp_path / "aa.log"
    attack = alias.AutoAttack(
        net, norm="Linf", eps=0.5, seed=1, version="custom", attacks_to_run=["apgd-ce"], device="cpu", log_path=log
    )

    x_adv = attack.run_standard_evaluation(x, y, bs=5)
    again, labels = attack.run_standard_evaluation(x, y, 5, return_labels=True)
    each = attack.run_standard_evaluation_individual(x, y, bs=5)

    assert torch.equal(x_adv, again)
    assert (net(x_adv).argmax(1) != y).all()
    assert torch.equal(net(x_adv).argmax(1), labels)
    assert list(each) == ["apgd-ce"]
    assert torch.equal(each["apgd-ce"], x_adv)
    assert "using custom version including apgd-ce" in log.read_text()


def test_the_alias_lets_attacks_be_chosen_after_construction(alias: Any, linear: Any) -> None:
    """Upstream's own README sets `attacks_to_run` on a custom instance; a standard one brings its own."""
    net, _, _ = linear

    custom = alias.AutoAttack(net, version="custom", device="cpu", verbose=False)
    standard = alias.AutoAttack(net, device="cpu")

    assert custom.attacks_to_run == []
    assert custom.verbose is False
    assert standard.attacks_to_run == ["apgd-ce", "apgd-t", "fab-t", "square"]


def test_the_alias_leaves_no_log_handler_behind(alias: Any, linear: Any, tmp_path: Path) -> None:
    """Each run closes its file, so the next one writes to its own."""
    net, x, y = linear
    attack = alias.AutoAttack(
        net, version="custom", attacks_to_run=["apgd-ce"], device="cpu", log_path=tmp_path / "aa.log"
    )

    attack.run_standard_evaluation(x, y)

    assert logging.getLogger("auto-attack").handlers == []


def test_the_parts_of_the_alias_are_those_of_pyautoattack(alias: Any) -> None:
    """One class under two names: an instance of one is an instance of the other."""
    import pyautoattack.autopgd_base
    from autoattack.autoattack import AutoAttack
    from autoattack.autopgd_base import APGDAttack

    assert APGDAttack is pyautoattack.autopgd_base.APGDAttack
    assert AutoAttack is alias.AutoAttack
    assert issubclass(AutoAttack, pyautoattack.AutoAttack)
    assert Repair("autoattack", _compat._active["autoattack"].why) in _compat.active()
