"""Every registered defense, as data: adding one is one file in `defenses/` and one entry here."""

from __future__ import annotations

from bench.catalogue.registry import DefenseEntry, Registry

DEFENSES: Registry[DefenseEntry] = Registry("defense", "bench.defenses")

# What `bench run` takes by default. Every dataset that has shipped weights at all has weights of these four.
DEFAULT_DEFENSES = ("standard", "at", "ap", "atop")

_RT = ("none", "1", "2", "3")
_MOVES = ("1", "2", "3")
_NOISE = ("0.025", "0.05", "0.075", "0.1", "0.125", "0.15", "0.2", "0.25", "0.3", "0.4", "0.5")
_PURIFIER = ("base", "derandomized", "bpda", "frozen")
# Networks: a small one that two CPU cores train in minutes, the ResNet-18 of the literature, and one of half its width,
# which they train in hours.
_SIZED = {"network": {"small": "", "resnet-18": "-resnet-18", "resnet-18-w32": "-resnet-18-w32"}}
_NETWORK = {"network": tuple(_SIZED["network"])}
# Kinds of purifier: the U-Net came first, and its checkpoints have no suffix.
_KINDS = {"purifier": {"unet": "", "autoencoder": "-autoencoder", "gan": "-gan"}}
_KIND = {"purifier": tuple(_KINDS["purifier"])}
_CLASSIFIERS = ("standard", "at", "at-l2", "at-stadv", "fgsm-rs", "trades")

for _name, _paper, _summary in (
    ("standard", "undefended", "the classifier alone, trained without adversarial examples"),
    ("at", "1706.06083", "adversarial training with PGD"),
):
    DEFENSES.add(
        DefenseEntry(
            _name,
            f"bench.defenses.{_name}:load",
            _paper,
            _summary,
            weights=(f"{_name}{{network}}",),
            spelled=_SIZED,
            config={"network": "small"},
            choices=_NETWORK,
        )
    )
for _name, _loader, _paper, _summary in (
    ("at-l2", "load_l2", "1706.06083", "adversarial training with PGD in L2"),
    ("at-stadv", "load_stadv", "1801.02612", "adversarial training on displaced pixels"),
    ("fgsm-rs", "load_fgsm_rs", "2001.03994", "adversarial training with a single step from a random start"),
    ("trades", "load_trades", "1901.08573", "adversarial training that trades clean accuracy for steady answers"),
):
    DEFENSES.add(DefenseEntry(_name, f"bench.defenses.at:{_loader}", _paper, _summary, weights=(_name,)))
DEFENSES.add(
    DefenseEntry(
        "ap",
        "bench.defenses.ap:load",
        "2401.16352",
        "adversarial purification: a purifier trained on clean images before the standard classifier",
        weights=("{classifier}{network}", "ap{purifier}{network}"),
        spelled={**_KINDS, **_SIZED},
        config={"rt": "none", "classifier": "standard", "network": "small", "purifier": "unet"},
        choices={"rt": _RT, "classifier": _CLASSIFIERS, **_NETWORK, **_KIND},
        holds="classifier",
        stochastic_when={"rt": _MOVES},
        offers=_PURIFIER,
        added=("purifier",),
    )
)
DEFENSES.add(
    DefenseEntry(
        "atop",
        "bench.defenses.atop:load",
        "2401.16352",
        "adversarial training on purification: random transform and adversarially fine-tuned purifier",
        weights=("{classifier}{network}", "{ft}"),
        spelled={
            "ft": {
                "on": "atop{purifier}{network}-rt{rt}",
                # The ablation: without adversarial fine-tuning AToP's purifier is AP's.
                "off": "ap{purifier}{network}",
                "clean": "atop-clean{purifier}{network}-rt{rt}",
                "paper": "atop-paper{purifier}{network}-rt{rt}",
            },
            **_KINDS,
            **_SIZED,
        },
        config={"rt": "1", "ft": "on", "classifier": "standard", "network": "small", "purifier": "unet"},
        choices={"rt": _RT, "ft": ("on", "off", "clean", "paper"), "classifier": _CLASSIFIERS, **_NETWORK, **_KIND},
        holds="classifier",
        stochastic_when={"rt": _MOVES},
        offers=_PURIFIER,
        added=("purifier",),
    )
)
DEFENSES.add(
    DefenseEntry(
        "diffpure",
        "bench.defenses.diffpure:load",
        "2205.07460",
        "purification by a diffusion model: noise up to the level t, denoising, then the standard classifier",
        weights=("{classifier}{network}", "{ft}"),
        spelled={"ft": {"off": "diffpure{network}", "on": "atop-diffusion{network}"}, **_SIZED},
        config={"t": "0.1", "steps": "10", "ft": "off", "classifier": "standard", "network": "small"},
        choices={
            "ft": ("on", "off"),
            **_NETWORK,
            "t": ("0", *_NOISE),
            "steps": ("1", "2", "5", "10", "20", "50", "100", "200"),
            "classifier": _CLASSIFIERS,
        },
        holds="classifier",
        stochastic_when={"t": _NOISE},
        offers=_PURIFIER,
        requires=("diffusers",),
        version=3,
        added=("ft", "network"),
    )
)
