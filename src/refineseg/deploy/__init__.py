"""Exports that are checked before they get their name, and opening a model with any engine."""
