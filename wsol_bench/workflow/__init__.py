"""The main jobs from end to end, each composed of the layers below."""
