"""Pictures too large for one piece: windows, their blending, and prediction of files strip by strip."""
