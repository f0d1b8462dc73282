"""Evaluation: what a checkpoint can do, in figures beside those of baselines. Needs held-out data, and no service."""
