"""Training: a plan's stacks go to worker processes, and their results into a folder."""
