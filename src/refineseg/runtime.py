"""Prediction with exported files where there is no torch: numpy, pillow and onnxruntime are enough.

from refineseg.runtime import load
result = load("camvid.onnx").predict("street.jpg")  # as refineseg.load("camvid").predict
"""

from refineseg.inference.portable import PortableSegmenter, load
from refineseg.inference.result import Result

__all__ = ["PortableSegmenter", "Result", "load"]
