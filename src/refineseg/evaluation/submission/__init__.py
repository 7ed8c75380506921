"""Archives for benchmark servers: written, checked, scored."""
