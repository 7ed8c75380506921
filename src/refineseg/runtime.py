"""Prediction with exported files without torch: numpy, pillow and onnxruntime are enough.

from refineseg.runtime import load
result = load("camvid.onnx").predict("street.jpg")  # as refineseg.load("camvid").predict
"""

from refineseg.inference.predictor import Segmenter
from refineseg.inference.result import Result
from refineseg.loading import load

__all__ = ["Result", "Segmenter", "load"]
