"""A claim as a file: read exactly, or refused in one line."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from bench.checks.published.claim import ClaimedProtocol, ClassifierAlone, PublishedClaim, PublishedComparison
from bench.checks.published.reading import parse_claim, read_claim
from bench.checks.published.report import audit_claim
from bench.errors import BenchError
from bench.threats import ThreatModel
from tests.checks.published.stated import ROOT


def test_a_claim_is_read_into_its_records():
    claim = parse_claim(
        'title = "two\\nlines \\u001b[31m"\nrobust = 1e1\nthreat = "linf:8/255"\nn = 5\n'
        "[comparison]\nrobust = 9\nsame_protocol = false\n"
        "[classifier]\nstandard = 93.10\nfrozen = false\n"
        '[protocol]\nunion = ["bpda"]\njudged = "mean"\nsteps = 7\nreduced = false'
    )

    assert claim == PublishedClaim(
        "two lines [31m",
        Decimal(10),
        threat=ThreatModel.parse("Linf:8/255"),
        n=5,
        comparison=PublishedComparison(Decimal(9), same_protocol=False),
        classifier=ClassifierAlone(Decimal("93.10"), frozen=False),
        protocol=ClaimedProtocol(union=("bpda",), judged="mean", steps=7, reduced=False),
    )


START = 'title = "t"\nrobust = 50.0\n'
MISTAKES = {
    "no TOML": ("title = ", "not TOML"),
    "a key twice": (START + "robust = 5", "not TOML"),
    "nested too deeply": (START + "n = " + "[" * 50_000, "not TOML"),
    "no title": ("robust = 5", "no 'title'"),
    "no robust": ('title = "t"', "no 'robust'"),
    "an empty title": ('title = " "\nrobust = 5', "title is empty"),
    "an unknown key": (START + "robuts = 1", "did you mean robust"),
    "an unknown key of a table": (START + "[protocol]\nstepps = 1", "did you mean steps"),
    "a key of the protocol above it": (START + "eot = 20", r"below \[protocol\]"),
    "a key of the claim in a table": (START + "[protocol]\nn = 512", "above the first"),
    "robust above 100": ('title = "t"\nrobust = 130', "from 0 to 100"),
    "robust below 0": ('title = "t"\nrobust = -0.1', "from 0 to 100"),
    "robust nan": ('title = "t"\nrobust = nan', "from 0 to 100"),
    "robust inf": ('title = "t"\nrobust = inf', "from 0 to 100"),
    "robust as a word": ('title = "t"\nrobust = "high"', "from 0 to 100"),
    "robust as a truth value": ('title = "t"\nrobust = true', "as printed"),
    "robust as a share": ('title = "t"\nrobust = 0.7285', "such as 72.85"),
    "too many decimals": ('title = "t"\nrobust = 72.1234567', "at most 6"),
    "a vanishing number": ('title = "t"\nrobust = 1e-999999999', "decimals"),
    "an exponent beyond any": ('title = "t"\nrobust = 1e99999999999999999999', "not TOML|no accuracy"),
    "a long integer": ('title = "t"\nrobust = 1' + "0" * 5000, "TOML|no accuracy"),
    "n zero": (START + "n = 0", "n = 0 is out of range"),
    "n negative": (START + "n = -5", "out of range"),
    "n a string": (START + 'n = "512"', "no whole number"),
    "n a decimal number": (START + "n = 512.0", "no whole number"),
    "n a truth value": (START + "n = true", "no whole number"),
    "n beyond any": (START + "n = 10000001", "10,000,000"),
    "runs zero": (START + "runs = 0", "runs = 0 is out of range"),
    "a wrong threat": (START + 'threat = "Linf:8"', "did you mean 8/255"),
    "an unknown choice": (START + '[protocol]\ngradient = "half"', "full, bpda, skipped, none"),
    "an unknown choice in a list": (START + '[protocol]\nseeded = ["jax"]', "torch, numpy"),
    "a choice that is no list": (START + '[protocol]\nseeded = "torch"', "no list"),
    "a truth value in words": (START + '[protocol]\nreduced = "no"', "no truth value"),
    "a protocol that is no table": (START + "protocol = 5", "no table"),
    "numbers that are no tables": (START + "numbers = [1]", "no list of tables"),
    "a single table of numbers": (START + '[numbers]\nattack = "a"', "no list of tables"),
    "a number without attack": (START + "[[numbers]]\nrobust = 5", "no 'attack'"),
    "a comparison without number": (START + '[comparison]\ntitle = "a"', "no 'robust'"),
    "a classifier without standard accuracy": (START + "[classifier]\nn = 5", r"\[classifier\] has no 'standard'"),
    "a text that is none": (START + "source = 5", "no text"),
    "a date": (START + "source = 2023-11-01", "no text"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_a_claim_is_one_line_that_says_what_to_write(kind, tmp_path):
    text, message = MISTAKES[kind]
    path = tmp_path / "claim.toml"
    path.write_text(text)

    with pytest.raises(BenchError, match=message) as caught:
        read_claim(path)

    assert str(caught.value).startswith(f"claim {str(path)!r}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_a_claim_that_cannot_be_read_is_a_mistake(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b'title = "\xff"')
    (tmp_path / "huge.toml").write_bytes(b"# " + b"x" * (1 << 20))

    for name, message in [
        ("missing.toml", "is not found"),
        (".", "no file"),
        ("binary.toml", "not UTF-8 text at byte 9"),
        ("huge.toml", "bytes"),
    ]:
        with pytest.raises(BenchError, match=message):
            read_claim(tmp_path / name)


def test_a_claim_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path):
    (tmp_path / "claim.toml").write_bytes(b"\xef\xbb\xbf" + START.replace("\n", "\r\n").encode())

    assert read_claim(tmp_path / "claim.toml") == PublishedClaim("t", Decimal("50.0"))


def test_the_claim_in_the_documentation_can_be_read():
    page = (ROOT / "docs" / "claims.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.S)

    assert audit_claim(parse_claim(block)).contrast.resolved is False
