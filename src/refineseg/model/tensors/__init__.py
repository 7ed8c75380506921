"""Named tensors in files: reading them safely, renaming them, saying how two sets differ."""
