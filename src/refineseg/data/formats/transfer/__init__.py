"""From a format to a folder data set, and from predictions to a format."""
