"""Searches: Optuna asks and learns; suggestions train as stacks."""
