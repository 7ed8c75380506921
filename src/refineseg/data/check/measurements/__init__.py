"""Measurements of every pair: each file is decoded once and leaves a small record."""
