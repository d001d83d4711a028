"""Stacks of any networks, in PyTorch: layer by layer, or by torch.func."""
