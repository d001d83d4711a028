"""The resident kernel: on a GPU a block of threads trains one member, whose weights stay where it runs."""
