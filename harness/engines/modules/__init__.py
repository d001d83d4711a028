"""Stacks of any networks, in PyTorch: rewritten layer by layer, or mapped over their members."""
