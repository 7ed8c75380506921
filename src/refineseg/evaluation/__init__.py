"""Scores and the protocols they are made by."""
