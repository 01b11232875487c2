"""Defenses: one method per file; each is loaded as a record mapping [0, 1] images to logits."""

if __name__ != "bench.defenses":
    raise ImportError("this folder is the package 'bench.defenses': pip install -e . and import that")
