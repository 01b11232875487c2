"""Everything registered, as data; nothing here imports torch."""

from bench.catalogue.attacks import ATTACKS
from bench.catalogue.defenses import DEFENSES

__all__ = ["ATTACKS", "DEFENSES"]
