"""Progress of a computation: bars on a terminal and in notebooks, lines everywhere else."""
