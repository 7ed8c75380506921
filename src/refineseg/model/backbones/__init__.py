"""Encoders: those written out, timm's, and the weights that they start from."""
