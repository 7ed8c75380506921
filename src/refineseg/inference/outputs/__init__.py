"""What a prediction is written as: one file per kind of output."""
