"""Exporting models as files for other engines and programs, checked against the network."""
