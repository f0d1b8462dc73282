"""The command line, and the only place that wires core, bots, workers and slimpajama together."""
