"""Splits of a data set: assigned, held out, and the groups of pictures that they keep together."""
