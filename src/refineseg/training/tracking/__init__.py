"""What a run records: metrics, loggers, its page and the pictures on it."""
