"""One HTML page about an evaluation, and its figures as JSON."""
