"""What a check looks for, a file for each subject. Every module has ``find``, which yields findings."""
