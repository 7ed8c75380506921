"""What to label next: the pictures whose labels would teach a model most (active learning), with pre-labels."""
