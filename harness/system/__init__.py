"""The operating system as the harness meets it: files, locks, cores and memory, signals, worker processes."""
