"""Reading pictures of any format, depth and number of channels, whole or by windows."""
