"""Axes of a study: one file an axis, one decorated function a component."""
