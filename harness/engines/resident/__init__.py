"""The resident kernel: on a GPU one block of threads trains one member, whose weights stay on its processor."""
