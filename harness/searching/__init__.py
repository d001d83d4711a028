"""Searches: Optuna suggests settings, batches of which train as stacks, and is told their results."""
