"""Encoders of label rasters: PNG and TIFF by strips, polygons along pixel edges, run lengths."""
