"""Bytes from anywhere to pixels: the format by its signature, the size before anything is decoded."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from refineseg.channels import Channels
from refineseg.data.pictures.opening import is_tiff, read_picture
from refineseg.data.pictures.picture import InMemory
from refineseg.data.tiff import open_samples
from refineseg.errors import InputError, MissingExtraError, RefinesegError
from refineseg.serving.options import Wanted
from refineseg.serving.problems import Refused

FORMATS = {  # signatures of what a person knows by the name
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
}
NAMES = tuple(FORMATS)
MEDIA_TYPES = tuple(f"image/{name.lower()}" for name in NAMES)
DECODING = 24  # bytes a pixel that decoding may take for a while: 16-bit pictures go through float64
RESULT = 56  # bytes a pixel of an overlay in the making; masks and outlines take less
SCORES = 10  # bytes a pixel and class: float32 twice, then float16


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """A picture whose header is read and whose pixels are not.

    Raises:
        Refused: 400 for nothing at all, 415 for another format, 413 for a bomb, 422 for damage (also while the
            picture is decoded inside the block), several frames.
    """
    if not data:
        raise Refused(400, "expected a picture in the request, got 0 bytes")
    name = next((name for name, signature in FORMATS.items() if signature.match(data)), None)
    if name is None:
        raise Refused(415, f"expected a picture of {', '.join(NAMES)}, got something else: convert it to PNG")
    # Telephones store a second view in a JPEG (MPO); the first is the picture.
    decoders = ("JPEG", "MPO") if name == "JPEG" else (name.upper(),)
    try:
        with Image.open(io.BytesIO(data), formats=decoders) as image:
            if image.format != "MPO" and getattr(image, "is_animated", False):
                raise Refused(422, f"expected a single picture, got a {name} of several frames: send one of them")
            yield image
    except Refused:
        raise
    except Image.DecompressionBombError:
        raise Refused(413, f"expected a smaller picture, got a {name} of a size that no server decodes") from None
    except Exception:  # decoders raise OSError, ValueError, SyntaxError, struct.error ...
        raise Refused(
            422, f"expected a whole {name}, got one that is damaged or cut off: export it anew"
        ) from None


def measure(data: bytes, wanted: Wanted, pixels: int, classes: int) -> int:
    """Bytes of memory that a picture will take; only its header is read.

    Raises Refused (413) where the network would have to see more than ``pixels``, else as ``opened``.
    """
    (height, width), decoding = _header(data)
    area = width * height
    if area * wanted.seen > pixels:
        views = "" if wanted.seen == 1 else f" seen as {wanted.seen:.3g} times as many by scales and flip"
        raise Refused(
            413,
            f"expected at most {pixels / 1e6:.3g} million pixels, got {width}x{height}, {area / 1e6:.3g} million"
            f"{views}: send a smaller picture",
        )
    return area * (max(decoding, RESULT) + (classes * SCORES if wanted.predict.probabilities else 0))


def _header(data: bytes) -> tuple[tuple[int, int], int]:
    """Height and width, and bytes a pixel that decoding may take; Refused as ``opened``."""
    if is_tiff(data):  # Pillow does not know most of those of many channels
        try:
            with open_samples(io.BytesIO(data), "the picture") as samples:
                if samples.left_out:
                    raise Refused(422, "expected a single picture, got a TIFF of several frames: send one of them")
                return samples.size, max(DECODING, samples.samples * (samples.dtype.itemsize + 8))
        except InputError:
            raise Refused(
                422, "expected a whole TIFF, got one that is damaged or cut off: export it anew"
            ) from None
        except MissingExtraError:
            pass
        except (ArithmeticError, ValueError, TypeError, MemoryError):  # numbers in a damaged header
            raise Refused(422, "expected a whole TIFF, got one that is damaged: export it anew") from None
    with opened(data) as image:
        return (image.height, image.width), DECODING


def decode(data: bytes, channels: Channels | None = None, choice: tuple[int, ...] | None = None) -> InMemory:
    """A picture of any supported format: HxWx3 uint8 RGB, or raw values of a model's channels.

    Args:
        data: the file.
        channels: of the model; None for RGB.
        choice: indices of the file's channels to take.

    Raises Refused (422) for other channels than those of the model, or none that are colours; else as ``opened``.
    """
    if not is_tiff(data):
        with opened(data) as image:  # says what is wrong with the file
            image.load()
    try:
        return read_picture(data, channels, choice)
    except RefinesegError as error:
        text = str(error)
        raise Refused(422, text if "expected" in text else f"expected a whole picture: {text}") from None
    except Exception:  # damaged headers lead decoders to divide by 0, to ask for more memory than there is ...
        raise Refused(422, "expected a whole picture, got one that is damaged: export it anew") from None
