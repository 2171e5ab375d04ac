"""Pure functions and mergeable accumulators over boxes and maps."""
