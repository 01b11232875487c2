"""The registries of attacks and defenses, as data; nothing here imports torch."""

from bench.catalogue.attacks import ATTACKS, DEFAULT_ATTACKS
from bench.catalogue.defenses import DEFAULT_DEFENSES, DEFENSES

__all__ = ["ATTACKS", "DEFAULT_ATTACKS", "DEFAULT_DEFENSES", "DEFENSES"]
