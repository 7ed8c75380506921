"""Video: reading, predicting frame by frame, smoothing over time, writing."""
