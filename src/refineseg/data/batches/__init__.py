"""From a data set to training batches: joint transforms and the loader."""
