"""Pictures too large for one piece: windows, their blending, files written strip by strip."""
