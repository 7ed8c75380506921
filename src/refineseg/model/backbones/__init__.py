"""Backbones: our own and timm's, and the weights that they start from."""
