"""Trainings, verdicts and timings on a borrowed GPU in minutes, and their rehearsal without one: docs/gpu.md."""
