"""What is measured, each against a baseline of the same run; `python -m benchmarks` runs all of it."""
