"""One predictor for prediction, evaluation, export checks and serving."""
