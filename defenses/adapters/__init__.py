"""Defenses of other libraries: RobustBench's zoo, and networks of torchvision, timm and the Hugging Face hub.

Each library has a module with `find`, which says what a name needs before anything is computed, and
`facts`, which says what is known of a name. Weights are data here: no code in a file of them is run.
"""
