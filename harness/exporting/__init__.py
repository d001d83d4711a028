"""Exports: a trial as a PyTorch module, splits as DataLoaders, data sets as image files."""
