"""The platforms people talk on, one package each, and what they share. Knows nothing of models."""
