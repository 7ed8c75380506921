"""Active learning: which pictures to label next, with pre-labels."""
