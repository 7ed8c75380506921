"""Import of a format as a folder data set, and export of predictions to a format."""
