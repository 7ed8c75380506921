"""Reading pictures and masks from disk, whatever mode they are in, and writing masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8
from refineseg.system.files import atomic_path

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm"})


def read_image(source: str | Path | Image.Image | NDArray[Any]) -> UInt8:
    """A picture as HxWx3 uint8 RGB.

    EXIF orientation is applied; greyscale, palette, alpha (over white), CMYK and 16-bit pictures are converted
    (16-bit scaled to 8). A file, an opened PIL image or an array HxWx3 (or HxW) of uint8 is taken.

    Raises:
        InputError: missing, unreadable or truncated file, or an array of another shape or type.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _to_rgb(source)
    path = Path(source)
    check_regular(path, "a picture")
    try:
        with Image.open(path) as image:
            return _to_rgb(image)
    except FileNotFoundError as error:
        raise InputError(f"expected a picture, found no file {path}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: {error}; use --tile for pictures of this size") from error
    except Exception as error:  # decoders raise OSError, ValueError, SyntaxError, struct.error ...
        raise InputError(
            f"cannot read {path} as a picture ({_reason(error)}): is it damaged or another format?"
        ) from error


def read_mask(path: str | Path) -> NDArray[Any]:
    """Raw values of a mask: HxW integers (palette pictures by index), or HxWx3 for colour masks.

    Raises InputError for files that cannot be read.
    """
    path = Path(path)
    check_regular(path, "a mask")
    try:
        with Image.open(path) as image:
            if image.mode in ("RGB", "RGBA"):
                return np.asarray(image.convert("RGB"))
            if image.mode in ("L", "P", "1", "I", "I;16", "I;16B", "I;16L"):
                mask = np.asarray(image)
                return mask.astype(np.uint8) if mask.dtype == bool else mask
            raise InputError(f"expected a mask of class numbers or colours, got {path} of mode {image.mode}")
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"expected a mask, found no file {path}") from error
    except Exception as error:
        raise InputError(f"cannot read {path} as a mask ({_reason(error)}): is it damaged?") from error


def check_regular(path: Path, what: str) -> None:
    """InputError for a folder, pipe or device in a file's place: reading it may wait for ever, or never end."""
    try:
        if path.is_file() or not path.exists():
            return
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    kind = "the folder" if path.is_dir() else "a pipe or device,"
    raise InputError(f"expected {what}, got {kind} {path}")


def write_mask(path: str | Path, labels: UInt8, label_map: LabelMap) -> None:
    """Train ids HxW as a palette index PNG with the label map's colours."""
    with atomic_path(path) as temporary:
        index_image(labels, label_map).save(temporary, format="PNG")


def index_image(labels: UInt8, label_map: LabelMap) -> Image.Image:
    """Train ids HxW as a palette picture with the label map's colours."""
    image = Image.fromarray(labels)
    image.putpalette(label_map.palette.tobytes())
    return image


def _from_array(array: NDArray[Any]) -> UInt8:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(
            f"expected an image array HxWx3 of uint8 in 0..255, got {array.dtype} of shape {array.shape}"
        )
    if not array.size:
        raise InputError(f"expected an image of at least 1x1 pixel, got shape {array.shape}")
    return np.ascontiguousarray(array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2))


def _to_rgb(image: Image.Image) -> UInt8:
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        values = np.asarray(image, dtype=np.float64)
        grey = np.clip(np.rint(values / _unit(image.mode, values) * 255), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(paper, rgba)
    return np.array(image.convert("RGB"))


def _unit(mode: str, values: NDArray[np.float64]) -> float:
    """The value that means white: 65535 in 16-bit pictures; told by the largest value in wider ones."""
    if mode.startswith("I;16"):
        return 65535.0
    largest = float(np.nan_to_num(values).max(initial=0))
    return 1.0 if mode == "F" and largest <= 1 else 255.0 if largest <= 255 else 65535.0


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__
