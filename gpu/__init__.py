"""What is done on a borrowed GPU in minutes, and its rehearsal without one: docs/gpu.md."""
