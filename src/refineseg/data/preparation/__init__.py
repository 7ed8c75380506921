"""From a benchmark's official archives to its layout."""
