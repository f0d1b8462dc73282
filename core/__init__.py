"""The domain: conversations, prompts, the queue and stream contracts, SQL, settings, errors.

Knows nothing of platforms, of torch, or of the command line that wires it together.
"""
