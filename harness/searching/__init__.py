"""Searches: suggestions from Optuna, trained batch by batch as stacks, told back when they are over."""
