"""The stacked engine: compatible trials train as one network."""
