"""Training on the nodes of a Ray cluster, where the extra `ray` is installed."""
