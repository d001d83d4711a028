"""From bytes to batches: data sets are downloaded or read, checked, split and preprocessed."""
