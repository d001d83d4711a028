"""`harness noise` and `harness try`: a baseline's spread over seeds, and one change of it at a time."""
