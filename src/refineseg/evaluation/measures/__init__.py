"""The measures of `--measure`, one per file."""
