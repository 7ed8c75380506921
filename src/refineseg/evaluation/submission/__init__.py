"""Archives for benchmark servers: writing, validation, scoring."""
