"""What `--measure` names, a file each; and the largest confusions."""
