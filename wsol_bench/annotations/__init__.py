"""Boxes and masks: formats, sources, the firewall and its ledger."""
