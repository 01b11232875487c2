"""Attacks: one method per file; each proposes adversarial examples and never judges them."""

if __name__ != "bench.attacks":
    raise ImportError("this folder is the package 'bench.attacks': pip install -e . and import that")
