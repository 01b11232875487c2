"""Everything registered, as data; nothing here imports torch."""

from bench.catalogue.attacks import ATTACKS, DEFAULT_ATTACKS
from bench.catalogue.defenses import DEFENSES

__all__ = ["ATTACKS", "DEFAULT_ATTACKS", "DEFENSES"]
