"""From trials to stacks: which trials train together, and what that costs in seconds and bytes."""
