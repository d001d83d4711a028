"""Damage done on purpose, by the thousand: `nox -s torture`. See docs/torture.md."""
