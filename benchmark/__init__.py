"""atop-bench: robust accuracy of adversarial training, purification and AToP, measured honestly."""

__version__ = "0.1.0"
