"""From a name to what will be run: parts, parameters, checkpoints and costs."""

import json
import os
import sys

import pytest
import torch

from bench.catalogue import ATTACKS, DEFENSES, identity, resolve, versions
from bench.catalogue.registry import AttackEntry
from bench.catalogue.request import Request, parse_list
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.harness.task import Task, compute
from bench.machine.isolation import Workers, isolated
from bench.results.cell import Cell, Slice
from bench.threats import ThreatModel

DIGITS = (ThreatModel.parse("Linf:0.2"), ThreatModel.parse("L2:1"), ThreatModel.parse("stadv:0.4"))


def test_a_purifier_before_another_classifier_has_seen_what_either_has():
    """AToP on Linf before AT on L2: both are seen, and both files are in the key."""
    composed, plain = (
        resolve.defense(Request("atop", parameters), "digits", None) for parameters in ({"classifier": "at-l2"}, {})
    )

    assert set(map(str, composed.trained_on)) == {"L2:1", "Linf:0.2"}
    assert set(composed.checkpoints) == {"at-l2", "atop-rt1"}
    assert composed.digest != plain.digest


def test_the_fine_tuning_chooses_the_checkpoint():
    """`ft=off` is the purifier as pre-trained, under the transform that is asked for."""
    found = {
        ft: [*resolve.defense(Request("atop", {"ft": ft, "rt": rt}), "digits", None).checkpoints]
        for ft, rt in (("on", "3"), ("off", "3"), ("clean", "1"), ("paper", "2"))
    }

    assert found == {
        "on": ["standard", "atop-rt3"],
        "off": ["standard", "ap"],
        "clean": ["standard", "atop-clean-rt1"],
        "paper": ["standard", "atop-paper-rt2"],
    }


def test_the_kind_of_purifier_chooses_its_checkpoint_and_leaves_the_classifier():
    """A network has a larger classifier, a purifier has not; both can stand in one name."""
    ap, atop = (DEFENSES.get(name) for name in ("ap", "atop"))

    def names(entry, **chosen):
        return entry.weight_names({**entry.config, **chosen})

    assert names(ap) == names(ap, purifier="unet") == ["standard", "ap"]
    assert names(ap, purifier="gan") == ["standard", "ap-gan"]
    assert names(ap, purifier="autoencoder", network="resnet-18") == ["standard-resnet-18", "ap-autoencoder-resnet-18"]
    assert names(atop, purifier="gan", rt="2") == ["standard", "atop-gan-rt2"]
    assert names(atop, purifier="gan", ft="off") == ["standard", "ap-gan"]
    assert names(atop, purifier="autoencoder", ft="paper") == ["standard", "atop-paper-autoencoder-rt1"]
    assert names(atop, purifier="gan", network="resnet-18") == ["standard-resnet-18", "atop-gan-resnet-18-rt1"]


def test_a_diffusion_model_is_chosen_by_its_fine_tuning_and_its_network():
    entry = DEFENSES.get("diffpure")

    def names(**chosen):
        return entry.weight_names({**entry.config, **chosen})

    assert names() == ["standard", "diffpure"]
    assert names(ft="on") == ["standard", "atop-diffusion"]
    assert names(ft="on", network="resnet-18") == ["standard-resnet-18", "atop-diffusion-resnet-18"]
    assert names(classifier="at", network="resnet-18") == ["at-resnet-18", "diffpure-resnet-18"]


def test_a_parameter_that_came_later_is_in_no_key_where_it_has_its_default():
    """The digest of `ap` is computed as before there was `purifier`: what is stored is still found."""
    ref, said, other = (
        resolve.defense(Request("ap", given), "digits", None)
        for given in ({}, {"purifier": "unet"}, {"purifier": "gan"})
    )

    before = {"rt": "none", "classifier": "standard", "network": "small"}
    assert ref.config == said.config == before
    version = versions.of_defense("ap", "bench.defenses.ap:load", 1)
    assert ref.digest == said.digest == identity.of_text("ap", version, before, ref.weights)
    assert other.config == {**before, "purifier": "gan"}
    assert other.digest == identity.of_text("ap", version, other.config, other.weights)
    assert (ref.label, other.label) == ("ap", "ap[purifier=gan]")


class TestComposites:
    """Attacks that are the worst case of others, which may have parameters and differ by threat family."""

    @staticmethod
    def parts(name, kind="deterministic", family="Linf", fits=lambda entry: True):
        return resolve.composite(resolve.entry(Request(name, {})), kind, fits, family)

    @pytest.mark.parametrize(
        ("name", "kind", "family", "labels"),
        [
            ("autoattack-standard", "deterministic", "Linf", ["apgd-ce", "apgd-t", "fab-t", "square"]),
            (
                "autoattack-standard",
                "deterministic",
                "L1",
                ["apgd-ce[large_reps=true,n_restarts=5]", "apgd-t[large_reps=true,targets=5]", "fab-t", "square"],
            ),
            (
                "autoattack-plus",
                "deterministic",
                "L2",
                [
                    *("apgd-ce[n_restarts=5]", "apgd-dlr[n_restarts=5]", "fab[n_restarts=5]"),
                    *("square", "apgd-t", "fab-t"),
                ],
            ),
            ("autoattack-rand", "stochastic", "Linf", ["apgd-ce", "apgd-dlr"]),
            ("autoattack", "deterministic", "L2", ["apgd-ce", "apgd-t", "fab-t", "square"]),
            ("autoattack", "stochastic", "Linf", ["apgd-ce", "apgd-dlr", "square-eot"]),
        ],
    )
    def test_the_versions_of_autoattack_are_its_own(self, name, kind, family, labels):
        """attacks.md 3.1, against the pyautoattack package's `_set_version`."""
        whole, parts = self.parts(name, kind, family)

        assert [part.label for part in parts] == labels
        many = kind == "stochastic"
        assert whole.forwards * whole.eot == sum(part.forwards * (part.eot if many else 1) for part in parts)
        assert whole.source == " + ".join(labels)

    @pytest.mark.parametrize(
        ("name", "kind", "passes"),
        [
            # Parts of one draw a query, with 20 and with 10: each by its own draws.
            ("audit", "stochastic", (430 + 201 * 20 + 601 * 10, 340 + 201 * 20)),
            ("autoattack-rand", "stochastic", (2 * 101 * 20, 2 * 101 * 20)),
            # In a known draw nothing is averaged over.
            ("known-draws", "stochastic", (2 * 101, 2 * 101)),
        ],
    )
    def test_each_part_costs_by_the_draws_of_its_own_queries(self, name, kind, passes):
        whole, _ = self.parts(name, kind, "Linf")

        assert (whole.forwards * whole.eot, whole.backwards * whole.eot) == passes

    @pytest.mark.parametrize(("version", "family"), [("standard", "L2"), ("standard", "L1"), ("plus", "Linf")])
    def test_the_versions_of_autoattack_are_those_of_its_package(self, version, family):
        """The same parts in the same order, with its restarts, targets and large reps."""
        import pyautoattack

        theirs = pyautoattack.AutoAttack(torch.nn.Identity(), norm=family, eps=1.0, version=version, seed=0)
        restarts = {"apgd-ce": theirs.apgd, "apgd-dlr": theirs.apgd, "fab": theirs.fab, "apgd-t": theirs.apgd_targeted}

        _, parts = self.parts(f"autoattack-{version}", family=family)

        named = {part.label.partition("[")[0]: part.config for part in parts}
        assert list(named) == theirs.attacks_to_run
        for name, config in named.items():
            if name in restarts:
                assert config.get("n_restarts", 1) == restarts[name].n_restarts
                assert config.get("large_reps", False) == getattr(restarts[name], "use_largereps", False)
        assert named["apgd-t"].get("targets", 9) == theirs.apgd_targeted.n_target_classes

    def test_a_part_with_parameters_is_the_attack_a_user_would_name(self):
        """The same cell: what was computed for one is found for the other."""
        _, parts = self.parts("autoattack-plus")
        (request,) = parse_list("apgd-ce[n_restarts=5]", "attack")

        _, alone = resolve.attack(request)

        assert parts[0] == alone
        assert parts[0].config["n_restarts"] == 5

    def test_a_part_that_does_not_fit_is_left_out_but_not_all_of_them(self):
        _, parts = self.parts("autoattack", fits=lambda entry: entry.access == "score")

        assert [part.label for part in parts] == ["square"]
        with pytest.raises(BenchError, match="no part of autoattack is defined for Linf on a deterministic defense"):
            self.parts("autoattack", fits=lambda entry: False)

    @pytest.mark.parametrize("entry", [entry for entry in ATTACKS if entry.parts], ids=lambda entry: entry.name)
    def test_every_part_is_an_attack(self, entry):
        """With parameters it has, of the types it takes."""
        for names in entry.parts.values():
            for name in names:
                (request,) = parse_list(name, "attack")
                resolve.attack(request)

    @pytest.mark.parametrize("name", ["autoattack", "autoattack-standard", "autoattack-plus"])
    def test_a_version_of_autoattack_is_whole_wherever_it_is_defined(self, name):
        """Less than all of its parts must not be called by its name."""
        entry = ATTACKS.get(name)
        for family in entry.families:
            whole, _ = self.parts(name, "deterministic", family)
            kept, _ = self.parts(name, "deterministic", family, lambda part, family=family: family in part.families)

            assert kept == whole


class TestCosts:
    """What a dry run says of an attack whose parameters are not the usual ones."""

    @staticmethod
    def cost(text):
        (request,) = parse_list(text, "attack")
        ref = resolve.attack(request)[1]
        return ref.forwards, ref.backwards

    @pytest.mark.parametrize(
        ("text", "least", "most"),
        [
            ("pgd-20", (21, 21), (21, 21)),
            ("pgd-20[steps=20,step_size=0.1]", (21, 21), (21, 21)),
            ("pgd-20[steps=40]", (41, 41), (42, 42)),
            ("pgd-20[n_restarts=3]", (63, 63), (63, 63)),
            ("pgd-20[steps=40,n_restarts=3]", (123, 123), (126, 126)),
            ("pgd-20[steps=5]", (6, 6), (8, 8)),
            ("apgd-t[targets=3]", (304, 303), (304, 303)),
            ("apgd-t[steps=50]", (460, 459), (465, 465)),
            ("square[queries=500]", (501, 0), (503, 0)),
        ],
    )
    def test_passes_grow_with_steps_restarts_targets_and_queries(self, text, least, most):
        """Never below what the attack takes, which is `least`, and hardly above."""
        found = self.cost(text)

        assert least[0] <= found[0] <= most[0]
        assert least[1] <= found[1] <= most[1]

    def test_an_attack_may_know_its_cost_itself(self, monkeypatch):
        monkeypatch.setattr("bench.attacks.lp.pgd.PGD.cost", lambda self: (7 * self.steps, 1), raising=False)
        # What its source says of it would be out of date.
        monkeypatch.setattr("bench.catalogue.resolve.declared", lambda _target: None)

        assert self.cost("pgd-20[steps=3]") == (21, 1)


class TestTransferFromAnotherDefense:
    """`transfer[source=at]`: the other defense is part of what the attack is."""

    @staticmethod
    def ask(text, dataset="digits"):
        (request,) = parse_list(text, "attack")
        return resolve.attack(request, dataset)[1]

    def test_the_reference_brings_the_other_defense_with_its_checkpoints(self):
        ref = self.ask("transfer[source=at]")

        assert ref.surrogate is not None
        assert ref.surrogate.label == "at"
        assert ref.surrogate.checkpoints
        assert (ref.config["source"], ref.needs) == ("at", "source")
        assert (
            len({ref.digest, self.ask("transfer[source=standard]").digest, self.ask("transfer[source=ap]").digest}) == 3
        )
        assert self.ask("transfer").surrogate == self.ask("transfer[source=standard]").surrogate

    def test_other_weights_of_the_source_are_another_attack(self, monkeypatch):
        before = self.ask("transfer[source=at]").digest
        monkeypatch.setattr("bench.catalogue.identity.of_file", lambda path: "other bytes")

        assert self.ask("transfer[source=at]").digest != before

    def test_a_stochastic_source_costs_its_draws(self):
        plain, random = self.ask("transfer[source=at]"), self.ask("transfer[source=atop]")

        assert (plain.forwards, plain.backwards, plain.eot) == (41, 41, 1)
        assert (random.forwards, random.backwards, random.eot) == (20 * 41, 20 * 41, 1)

    def test_a_mistake_is_one_line(self):
        with pytest.raises(BenchError, match="unknown defense 'atpo': did you mean"):
            self.ask("transfer[source=atpo]")
        with pytest.raises(BenchError, match="did you mean source"):
            self.ask("transfer[sorce=at]")
        with pytest.raises(BenchError, match="in a run only"):
            resolve.attack(Request("transfer", {}))

    def test_a_cell_survives_the_store(self):
        """Source and digest are written down and read back; cells of other attacks are as they were."""
        examples = digits("test").first(4)
        part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
        target = resolve.defense(Request("standard", {}), "digits", None)
        for text in ("transfer[source=at]", "pgd-20"):
            cell = Cell(target, self.ask(text), DIGITS[0], part, 0, 1, 64)

            again = Cell.from_json(json.loads(json.dumps(cell.to_json())))

            assert again.key == cell.key
            assert (again.attack.surrogate is None) == (text == "pgd-20")
            assert again.to_json() == cell.to_json()

    @pytest.mark.parametrize(("source", "broken"), [("at", False), ("standard", True)])
    def test_a_run_attacks_the_source_and_judges_the_target(self, source, broken):
        """Standard falls to itself; what fools AT at this size fools the standard network less often."""
        examples = digits("test").first(32)
        part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
        target = resolve.defense(Request("standard", {}), "digits", None)
        cell = Cell(target, self.ask(f"transfer[source={source}]"), DIGITS[0], part, 0, 1, 64)

        report = compute(Task(cell, 0, examples), "cpu", lambda passed: None)

        assert report.error == ""
        left = int(report.done.verdicts.adversarial.sum())
        clean = int(report.done.verdicts.clean.sum())
        assert left < clean
        assert (left == 0) is broken
        assert (report.done.cost.forwards, report.done.cost.backwards) == (41 * clean, 40 * clean)


@pytest.mark.skipif(os.name != "posix", reason="processes of POSIX")
def test_the_parameters_of_a_plug_in_are_asked_for_in_a_process_of_its_own(tmp_path, monkeypatch):
    """Its package is code of others: what ends it is a line, and its parameters are typed as those of ours."""
    (tmp_path / "theirs_alone.py").write_text(
        "import os, dataclasses\n"
        "if os.environ.get('LEAVES'):\n    os._exit(4)\n"
        "@dataclasses.dataclass\nclass Walk:\n    steps: int = 10\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry = AttackEntry("walk", "theirs_alone:Walk", "", "", ("Linf",), 10)
    monkeypatch.setitem(ATTACKS._entries, "walk", entry)

    with isolated(Workers(1, limit=60)):
        _, ref = resolve.attack(Request("walk", {"steps": "20"}))
    assert ref.config == {"steps": 20}
    assert ref.forwards == 20
    assert "theirs_alone" not in sys.modules

    monkeypatch.setenv("LEAVES", "1")
    with isolated(Workers(1, limit=60)), pytest.raises(BenchError) as caught:
        resolve.attack(Request("walk", {"steps": "20"}))
    assert str(caught.value).startswith("'walk[steps=20]' does not load: it ended its process with status 4; mend or")
