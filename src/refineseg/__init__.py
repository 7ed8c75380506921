"""RefineNet for semantic segmentation."""
