"""Speed and memory side by side, in one process. See docs/speed.md."""
