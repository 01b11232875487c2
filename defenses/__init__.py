"""Defenses: one method per file; each loads as a record whose model maps images in [0, 1] to logits."""

# Run from the repository's root, `import defenses` would load a second copy whose classes differ from bench.defenses.
if __name__ != "bench.defenses":
    raise ImportError("this folder is the package 'bench.defenses': pip install -e . and import that")
