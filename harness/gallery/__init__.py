"""Images on pages: contact sheets of data sets, and of a model's predictions."""
