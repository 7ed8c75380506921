"""The measures of `--measure`, one per file; and the largest confusions."""
