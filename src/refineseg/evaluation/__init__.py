"""Scores, and the protocols behind them."""
