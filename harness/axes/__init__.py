"""What can vary: one file an axis, one decorated function a component."""
