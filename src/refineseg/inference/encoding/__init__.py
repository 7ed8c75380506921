"""Encoders of label rasters: streamed PNG, polygons along pixel edges, run lengths."""
