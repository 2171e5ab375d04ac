"""Score maps: normalisation, thresholds and the exact sweep."""
