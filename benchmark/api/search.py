"""The search for an attack on a defense: on validation images, then run once on those of the test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api.arguments import checked
from bench.api.asked import Asked, resolve, workers
from bench.api.fill import appraised, fill, watched
from bench.api.results import Results
from bench.catalogue.attack_file import as_toml, require_name
from bench.catalogue.options import DEFAULT_BATCH, DEFAULT_DRAWS, DEFAULT_RESULTS, RunOptions, settled
from bench.catalogue.selection import Selection
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.datasets.threats import HEADLINE
from bench.errors import BenchError
from bench.harness.executors import choose
from bench.harness.search import halving
from bench.harness.search.ground import Validation
from bench.harness.search.spending import Budget
from bench.harness.watcher import Watcher
from bench.machine.isolation import isolated
from bench.machine.system import write_whole
from bench.report.outputs import require_files
from bench.report.searched import as_text
from bench.results.searched import Searched, Tried
from bench.threats import LP_FAMILIES

# Any attack that is defined for every Lp ball and every kind of defense: the cell of it is where a search begins.
_ANY = "fgsm"
_MOST_PASSES = 10**7


@dataclass(frozen=True, repr=False)
class AttackSearch:
    """An attack that was found, and what it does on test images, where the search has never looked.

    Attributes:
        searched: what was tried on validation images, and what the best of it left there.
        path: the file of the attack, for `--attacks`.
        results: of it, and of the attacks beside it, on test images.
    """

    searched: Searched
    path: Path
    results: Results

    def __repr__(self) -> str:
        return self.summary()

    def summary(self, width: int | None = None) -> str:
        """Return text: what was tried, what was found, and a table of the attacks on test images."""
        return as_text(self.searched, self.path, self.results.cells, width=width)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the record of the file, the attacks, all that was tried, and the rows of the table."""
        return {
            "file": str(self.path),
            "attacks": list(self.searched.found.attacks),
            **self.searched.record(),
            "trials": [
                {
                    "attacks": list(each.attacks),
                    "images": each.images,
                    "accuracy": None if each.reason else each.accuracy,
                    "passes": each.passes,
                    "reason": each.reason,
                }
                for each in self.searched.tried
            ],
            "test": self.results.compare_attacks().to_json() if _attacked(self.results) else [],
        }


def _attacked(results: Results) -> bool:
    return not results.failed and not results.missing


@checked
def search_attack(
    defense: str,
    budget: int,
    *,
    threat: str = "",
    dataset: str = "digits",
    data: Path | None = None,
    n: int = 128,
    seed: int = 0,
    draws: int = DEFAULT_DRAWS,
    batch: int = DEFAULT_BATCH,
    device: str = "auto",
    jobs: int = 0,
    results: Path = DEFAULT_RESULTS,
    weights: Path | None = None,
    checks: str = "auto",
    out: Path = Path("found.toml"),
    beside: str = "",
    random: bool = False,
    watcher: Watcher | None = None,
) -> AttackSearch:
    """Search for an attack on one defense, write it to a file and run it on test images.

    The search asks the defense as `bench run` does, and looks at validation images alone. The same call finds the same
    attack; after a kill it goes on, and what it has computed is not paid for twice.

    Args:
        defense: a name, or `./mine.py:build`.
        budget: the most passes that the search may spend, per image: forwards and backwards, draws included. With `n`
            images it spends at most `n` times as many, on as few or as many of them as it likes.
        threat: one Lp threat model, `Linf:0.2`; by default the usual one of the dataset.
        dataset: its validation split is searched on, its test split attacked in the end.
        data: folder the datasets lie in.
        n: how many images, of the validation split and of the test split.
        seed: of the search, and of every attack in it.
        draws: evaluation draws that judge a stochastic defense.
        batch: images per shard.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        jobs: attacks tried at once; 0: one per core, or per GPU.
        results: folder of the verdicts. Those of the search lie apart from those of the table.
        weights: folder of your own weights.
        checks: as for `bench.run`, on the test images.
        out: the file of the attack that is found.
        beside: attacks to run on the test images, too: `adaptive`.
        random: try each attack on all images instead of the better half of them on ever more.
        watcher: as for `bench.run`.

    Raises:
        BenchError: a mistake in the request, there are no validation images, or the budget is too small for any attack.
    """
    if not 1 <= budget <= _MOST_PASSES:
        raise BenchError(f"--budget {budget} is out of range: give 1 to {_MOST_PASSES:,} passes per image")
    require_name(out)
    require_files({"--out": out}, [results])
    wanted = {
        "defenses": defense,
        "attacks": ",".join(filter(None, (_ANY, beside))),
        "threat": threat or HEADLINE[0],
        "dataset": dataset,
        "data": data,
        "n": n,
        "seed": seed,
        "draws": draws,
        "batch": batch,
        "device": device,
        "jobs": jobs,
        "results": results,
        "weights": weights,
        "checks": checks,
        "shard": "",
    }
    chosen = settled(wanted)
    # Before images are read: a misspelled attack must not be found out after the search.
    selection = Selection.parse(defense, chosen.attacks, chosen.threat, "", dataset)
    if len(selection.threats) != 1 or selection.threats[0].family not in LP_FAMILIES:
        raise BenchError(f"--threat {chosen.threat!r}: a search is under one of {', '.join(LP_FAMILIES)}: Linf:0.2")
    examples = _validation(chosen)
    searching = Selection.of(defense, _ANY, selection.threats)

    def work(who: Watcher) -> AttackSearch:
        asked = resolve(_quietly(chosen), who, searching, examples)
        found = _searched(asked, budget, random=random)
        write_whole(out, as_toml(found.found.attacks, found.record()).encode())
        who.say(f"found {found.found.label}: {out}; now on test images")
        names = ",".join(filter(None, (str(out), beside)))
        return AttackSearch(found, out, fill(resolve(settled({**_given(chosen), "attacks": names}), who)))

    with isolated(workers(chosen)):
        return watched(watcher, work)


def _given(chosen: RunOptions) -> dict[str, Any]:
    return dict(vars(chosen))


def _quietly(chosen: RunOptions) -> RunOptions:
    """Return the options of the search itself: the checks are for the run on test images."""
    return settled({**_given(chosen), "checks": "none"})


def _validation(chosen: RunOptions) -> Examples:
    try:
        return load(chosen.dataset, "validation", n=chosen.n, data=chosen.data)
    except BenchError as error:
        raise BenchError(
            f"a search needs validation images, since it must not look at those of the test: {error}"
        ) from None


def _searched(asked: Asked, budget: int, *, random: bool) -> Searched:
    """Search on the validation images of a request for one cell."""
    options, store, watcher = asked.options, asked.store, asked.watcher
    how = asked.in_formats()
    if len(how.plan) != 1:
        raise BenchError(
            f"--defense {options.defenses!r} names {len(how.plan)}: an attack is searched for one, name it"
        )
    base = how.plan[0].cell
    executor = choose(options.executor, options.device, options.jobs, halving.WAVE, options.ray_address, watcher.say)
    (planned,), pace = appraised(how.plan, [base], asked)
    if planned.broken:
        raise BenchError(f"{base.defense.label}: {planned.broken}")
    store.require_writable()
    asked.known.remember(store)
    how.remember(store)
    ground = Validation(base, asked.examples, store.aside(), executor, watcher, pace)
    n = len(asked.examples)
    spending = Budget(budget * n)
    search = halving.random_search if random else halving.successive_halving
    trials = search(ground.candidates(options.seed, budget), ground, n, spending)
    best = next((each for each in trials if each.verdicts and not each.reason), None)
    if best is None:
        raise BenchError(_nothing(trials, budget))
    return Searched(
        base.defense.label,
        str(base.threat),
        asked.examples.dataset,
        n,
        options.seed,
        budget,
        "random search" if random else "successive halving",
        tuple(_tried(each) for each in trials),
        spending.spent,
        _tried(best),
    )


def _nothing(trials: list[halving.Trial], budget: int) -> str:
    failed = [each for each in trials if each.reason]
    if failed and any(each.candidate.meaningless == "" for each in failed):
        return f"no attack could be tried to the end, the first one for this reason: {failed[0].reason}"
    return f"--budget {budget} is too small for any attack: give some thousand passes per image"


def _tried(trial: halving.Trial) -> Tried:
    names = tuple(request.label for request in trial.candidate.attacks)
    return Tried(names, trial.images, trial.accuracy, trial.passes, trial.reason)
