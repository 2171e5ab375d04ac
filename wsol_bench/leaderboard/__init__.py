"""Published tables and rows measured here."""
