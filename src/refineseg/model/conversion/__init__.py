"""Published checkpoints of other codes, recognised and converted strictly."""
