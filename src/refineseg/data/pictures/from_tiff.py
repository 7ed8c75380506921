"""A TIFF as a picture: which samples are colours or channels, which value is white, where there is no data.

These depend on the whole file, and conversions on single pixels, so that a window equals that part of the whole.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from refineseg.channels import Channels, Pixels
from refineseg.data.pictures.color_spaces import COLORS, over_white, to_bytes, to_rgb, white_of
from refineseg.data.pictures.geotiff import is_nodata
from refineseg.data.pictures.picture import ChannelSelection, Void, with_nan
from refineseg.data.pictures.tiff_samples import TiffSamples
from refineseg.errors import InputError
from refineseg.system.text import counted

STRIP = 1 << 22  # pixels read at a time to find the largest value


class FromTiff:
    """A TIFF, converted window by window to raw values of ``channels``, or to RGB if None.

    ``choice`` has the indices of the samples to take, in order; None to decide by the header.
    """

    def __init__(
        self, samples: TiffSamples, channels: ChannelSelection, choice: tuple[int, ...] | None, name: str
    ) -> None:
        self.samples, self.channels, self.name = samples, channels, name
        self.size, self.geo, self.dtype = samples.size, samples.geo, samples.dtype
        self._notes: list[str] = []
        self._chosen = choice is not None
        self.taken = _chosen(samples, choice, name) if choice is not None else self._by_header()
        if isinstance(channels, Channels):
            channels.check_kind(len(self.taken), samples.dtype, name)
        elif channels is None and self._chosen and len(self.taken) not in (1, 3):
            raise InputError(f"{name}: expected 3 of --channels (or 1 for grey), got {len(self.taken)}")
        if samples.left_out:
            self._notes.append(f"page 1 of {1 + samples.left_out} is read")

    @property
    def notes(self) -> tuple[str, ...]:
        """See ``Picture``."""
        assumed = () if self.channels is not None else self._white[1]
        return (*self._notes, *assumed)

    def read(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """See ``Picture``."""
        stored = self.samples.read(top, bottom, left, right)
        taken = stored[..., list(self.taken)]
        if self.channels is not None:
            return with_nan(taken, self._missing(stored, (top, bottom, left, right)))
        alpha = self.samples.alpha
        if self.samples.page.photometric.name == "PALETTE":
            return to_rgb(taken, self.samples.page)
        white = self._white[0]
        rgb = to_bytes(taken, white)
        if self._chosen:
            return np.repeat(rgb, 3, 2) if rgb.shape[2] == 1 else rgb
        rgb = to_rgb(rgb, self.samples.page)
        if alpha is not None:
            rgb = over_white(rgb, to_bytes(stored[..., alpha : alpha + 1], white), self.samples.premultiplied)
        return rgb

    def void(self, top: int, bottom: int, left: int, right: int) -> Void | None:
        """See ``Picture``: no-data in every channel, masked, or fully transparent."""
        samples, window = self.samples, (top, bottom, left, right)
        sure = samples.nodata is None and samples.mask is None and samples.alpha is None
        if sure and samples.dtype.kind != "f":
            return None
        return np.asarray(self._missing(samples.read(*window), window).all(-1))

    def _missing(self, stored: Pixels, window: tuple[int, int, int, int]) -> Void:
        """Whether each of the chosen samples of a window is no-data, HxWxC."""
        samples = self.samples
        missing = is_nodata(stored[..., list(self.taken)], samples.nodata)
        if samples.mask is not None:
            missing = missing | (samples.mask.read(*window) == 0).all(-1, keepdims=True)
        alpha = samples.alpha
        if alpha is not None and alpha not in self.taken:
            missing = missing | (stored[..., alpha : alpha + 1] == 0)
        return missing

    @cached_property
    def _white(self) -> tuple[float, tuple[str, ...]]:
        """See ``white_of``."""
        return white_of(self.samples.dtype, self.samples.bits, self.largest, self.name)

    def largest(self) -> float:
        """The largest value of the chosen samples, without no-data; 0 if there is none."""
        height, width = self.size
        rows = max(1, STRIP // width)
        found = 0.0
        for top in range(0, height, rows):
            window = (top, min(top + rows, height), 0, width)
            stored = self.samples.read(*window)
            valid = stored[..., list(self.taken)][~self._missing(stored, window)]
            found = max(found, float(valid.max(initial=0)))
        return found

    def _by_header(self) -> tuple[int, ...]:
        """Indices of the channels, or of the colours for RGB."""
        samples, alpha = self.samples, self.samples.alpha
        every = [index for index in range(samples.samples) if index != alpha]
        if self.channels is not None:
            with_alpha = isinstance(self.channels, Channels) and self.channels.count == samples.samples
            return tuple(range(samples.samples)) if with_alpha else tuple(every)
        kind = samples.page.photometric.name
        needed = COLORS.get(kind)
        if needed is None or (kind in ("CIELAB", "ICCLAB", "YCBCR", "PALETTE") and samples.bits > 8):
            raise InputError(
                f"{self.name}: expected grey, RGB, palette, YCbCr, CMYK or Lab, got {kind}: save it as RGB"
            )
        if needed == 1 and len(every) == 3:
            self._notes.append("its 3 channels are not marked as colours: read as red, green and blue")
            return tuple(every)
        if needed == 1 and len(every) > 1:
            raise InputError(
                f"{self.name}: expected grey or RGB, got {len(every)} channels that are not marked as colours: "
                "name those that are red, green and blue with --channels 3,2,1"
            )
        if len(every) > needed:
            rest = len(every) - needed
            self._notes.append(
                f"left out {counted(rest, 'channel')} beyond {'grey' if needed == 1 else 'the colours'}: "
                f"{needed} of {len(every)} are read"
            )
        return tuple(every[:needed])


def _chosen(samples: TiffSamples, choice: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The choice, if the file has these samples; else InputError."""
    if samples.page.photometric.name not in ("MINISBLACK", "RGB"):
        raise InputError(f"{name}: expected --channels for grey or RGB, got {samples.page.photometric.name}")
    if not choice or not all(0 <= index < samples.samples for index in choice):
        raise InputError(
            f"{name}: expected --channels in 1..{samples.samples}, got {','.join(str(i + 1) for i in choice)}"
        )
    return choice
