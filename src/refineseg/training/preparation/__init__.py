"""A training run before its first step: everything that can fail, and the initial network."""
