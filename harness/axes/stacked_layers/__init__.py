"""Networks layer by layer, for K members at once: a network's graph, and each layer's stacked form."""
