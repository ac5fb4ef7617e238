"""The parts of scripts/benchmark.py: problems, solvers, one measurement in a process of its own, reports."""
