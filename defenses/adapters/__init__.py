"""Defenses of other libraries: RobustBench's zoo, and networks of torchvision, timm and the Hugging Face hub.

Each library has a module with `find`, which resolves a name to files and settings before anything is
computed, and `facts`, which describes a name. Files of weights are data: no code in them is ever run.
"""
