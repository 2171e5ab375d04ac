"""Backbones shared by the methods."""
