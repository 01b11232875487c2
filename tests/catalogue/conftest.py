"""The zoo of the adapters: what names resolve to is looked up in it."""

from tests.defenses.adapters.conftest import color, offline, trained, zoo  # noqa: F401  (fixtures)
