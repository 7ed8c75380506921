"""The rules of a check, one file per subject. Every module has ``find``, which yields findings."""
