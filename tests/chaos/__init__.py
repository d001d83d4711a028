"""Faults of machines while studies train on a Ray cluster: `nox -s chaos`. See docs/chaos.md."""
