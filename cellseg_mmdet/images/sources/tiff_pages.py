"""Pixels of one TIFF page by window: only the strips or tiles it touches are decoded, and each is checked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tifffile

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.fileio import is_bomb
from cellseg_mmdet.images.orientation import Window
from cellseg_mmdet.images.sources.plain import check_jpeg, rgb_from_cmyk

_JPEG_COMPRESSIONS = (6, 7, 34892, 33007)
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR = range(7)
_MAX_SEGMENT = 1 << 26  # pixels of a strip or tile
_JPEG_2000 = (33003, 33004, 33005, 34712)
_DECODED_TO_RGB = (6, 7, 33003, 33004, 33005, 34712, 34892, 50001)  # by their codecs


class PageReader:
    """Reads the pages that are stored like one of them.

    Args:
        file: the open TIFF.
        keyframe: a page with all its tags.

    Attributes:
        num_samples: values a pixel, without alpha.
        is_colour: whether `read` returns RGB.
        dtype: of what `read` returns.
        stored_dtype: of the samples.
        description: codec, sample type and size, for errors.

    Raises:
        ImageError: the samples are complex, or of a colour space that cannot be converted.
    """

    def __init__(self, file: tifffile.TiffFile, keyframe: tifffile.TiffPage) -> None:
        self._file, self._keyframe = file, keyframe
        self._photometric = int(keyframe.photometric)
        self._bits = keyframe.bitspersample
        num_alpha = sum(int(extra) in (1, 2) for extra in keyframe.extrasamples)
        segment_rows = keyframe.tilelength if keyframe.is_tiled else keyframe.rowsperstrip
        if not keyframe.samplesperpixel or not segment_rows:
            raise ImageError(
                f"its header says that a pixel has {keyframe.samplesperpixel} samples, and a strip or tile "
                f"{segment_rows} rows; save it anew"
            )
        self.num_samples = max(keyframe.samplesperpixel - num_alpha, 1)
        compression = getattr(keyframe.compression, "name", str(keyframe.compression))
        self.description = (
            f"TIFF, {compression.lower()}, {keyframe.dtype or f'{self._bits} bits'}, "
            f"{keyframe.imagelength} x {keyframe.imagewidth}"
        )
        # Here, not where they are read: other decoders are not asked for such either.
        area = keyframe.imagelength * keyframe.imagewidth
        if keyframe.is_tiled and keyframe.tilelength * keyframe.tilewidth > max(
            _MAX_SEGMENT, 4 * area
        ):
            raise ImageError(
                f"tiles of {keyframe.tilelength} x {keyframe.tilewidth} pixels ({self.description})"
            )
        dtype = keyframe.dtype
        if dtype is None or dtype.kind not in "buif":
            raise ImageError(
                f"{self.description}: samples of this type are no gray values; save it with integers or floats"
            )
        self.stored_dtype = dtype.newbyteorder("=")
        self.is_colour = self._check_colour()
        is_mapped = dtype.kind == "b" or self._photometric == _PALETTE or self._is_packed
        self.dtype = np.dtype(np.uint8) if is_mapped else dtype.newbyteorder("=")

    @property
    def _is_packed(self) -> bool:
        """Gray of fewer than 8 bits."""
        return isinstance(self._bits, int) and 1 < self._bits < 8

    def _check_colour(self) -> bool:
        photometric, samples = self._photometric, self.num_samples
        if photometric in (_MIN_IS_WHITE, _MIN_IS_BLACK, _MASK):
            return False
        if photometric == _PALETTE and self._keyframe.colormap is not None:
            return True
        if photometric == _RGB and samples == 3:
            return True
        if photometric == _CMYK and samples == 4 and self.stored_dtype.kind == "u":
            return True
        if photometric == _YCBCR and int(self._keyframe.compression) in _DECODED_TO_RGB:
            return True
        name = getattr(self._keyframe.photometric, "name", photometric)
        raise ImageError(
            f"{self.description}: colours are {name} with {samples} samples, which is not read; save it as gray or RGB"
        )

    def read(
        self, page: tifffile.TiffPage | tifffile.TiffFrame, window: Window, sample: int | None
    ) -> np.ndarray:
        """Return (height, width, samples) of a window.

        Args:
            page: stored like the keyframe.
            window: inside the page.
            sample: the only one to return; None for all, of a colour.

        Raises:
            ImageError: a strip or tile is missing, cut off or cannot be decoded.
        """
        key = self._keyframe
        is_tiled = key.is_tiled
        seg_h = key.tilelength if is_tiled else min(key.rowsperstrip, key.imagelength)
        seg_w = key.tilewidth if is_tiled else key.imagewidth
        rows, columns = math.ceil(key.imagelength / seg_h), math.ceil(key.imagewidth / seg_w)
        planar = int(key.planarconfig) == 2 and key.samplesperpixel > 1
        total = rows * columns * (key.samplesperpixel if planar else 1)
        if len(page.dataoffsets) < total or len(page.databytecounts) < total:
            raise ImageError(f"has {len(page.dataoffsets)} of its {total} {self._segments}")
        y0, x0, height, width = window
        wanted = range(key.samplesperpixel) if sample is None else [sample]
        item = self.stored_dtype.itemsize
        segment_bytes = seg_h * seg_w * (1 if planar else key.samplesperpixel) * item
        decoded = max(segment_bytes, height * width * len(wanted) * item)
        if is_bomb(decoded, sum(page.databytecounts)):
            raise ImageError(
                f"{decoded} bytes of pixels from {sum(page.databytecounts)}: it is blank, or its header is wrong "
                f"({self.description})"
            )
        out = np.zeros((height, width, len(wanted)), dtype=self.stored_dtype)
        num_sparse = 0
        for row in range(y0 // seg_h, (y0 + height - 1) // seg_h + 1):
            for column in range(x0 // seg_w, (x0 + width - 1) // seg_w + 1):
                index = row * columns + column
                for place, of_plane in enumerate(wanted if planar else [None]):
                    number = index + (0 if of_plane is None else of_plane * rows * columns)
                    pixels = self._segment(page, number, total)
                    if pixels is None:
                        num_sparse += 1
                        continue
                    pixels = pixels[0]  # depth is 1
                    top, left = row * seg_h, column * seg_w
                    bottom = min(top + pixels.shape[0], y0 + height, key.imagelength)
                    right = min(left + pixels.shape[1], x0 + width, key.imagewidth)
                    first_y, first_x = max(top, y0), max(left, x0)
                    part = pixels[first_y - top : bottom - top, first_x - left : right - left]
                    target = out[first_y - y0 : bottom - y0, first_x - x0 : right - x0]
                    if planar:
                        target[..., place] = part[..., 0]
                    else:
                        target[...] = part[..., list(wanted)]
        return self.converted(out, one_sample=sample is not None)

    @property
    def _segments(self) -> str:
        return "tiles" if self._keyframe.is_tiled else "strips"

    def _segment(
        self, page: tifffile.TiffPage | tifffile.TiffFrame, number: int, total: int
    ) -> np.ndarray | None:
        """Decode one strip or tile; None for a tile that its writer left out."""
        offset, num_bytes = page.dataoffsets[number], page.databytecounts[number]
        where = f"{self._segments[:-1]} {number} of {total}"
        if not num_bytes:
            # Writers of pyramids leave tiles of background out (GDAL's sparse files); nobody leaves out strips.
            if self._keyframe.is_tiled and not offset and any(page.databytecounts):
                return None
            raise ImageError(f"{where} holds no data ({self.description})")
        handle = self._file.filehandle if page.parent is None else page.parent.filehandle
        if offset + num_bytes > handle.size:
            raise ImageError(
                f"{where} is cut off, the file ends before it does ({self.description})"
            )
        handle.seek(offset)
        data = handle.read(num_bytes)
        tables: dict[str, Any] = {}
        if int(self._keyframe.compression) in _JPEG_COMPRESSIONS:
            tables = dict(jpegtables=page.jpegtables, jpegheader=self._keyframe.jpegheader)
            self._check_jpeg(data, page.jpegtables, where)
        if int(self._keyframe.compression) in _JPEG_2000 and b"\xff\xd9" not in data[-16:]:
            # OpenJPEG decodes what there is of a code stream, and leaves the rest blurred.
            raise ImageError(f"{where} is damaged, its code stream has no end ({self.description})")
        try:
            pixels, _, _ = self._keyframe.decode(data, number, **tables)
        except Exception as error:
            raise ImageError(f"{where} cannot be decoded ({self.description}): {error}") from error
        return pixels

    def _check_jpeg(self, data: bytes, tables: bytes | None, where: str) -> None:
        if int(self._keyframe.compression) != 7 or self._photometric == _CMYK:
            return
        if self._bits != 8:
            return
        # The tables stand between SOI and EOI of their own.
        whole = data if not tables else tables[:-2] + data[2:]
        try:
            check_jpeg(whole)
        except ImageError as error:
            raise ImageError(f"{where} cannot be decoded ({self.description}): {error}") from error

    def converted(self, pixels: np.ndarray, *, one_sample: bool = False) -> np.ndarray:
        """Convert (H, W, stored samples) to gray values with white large, or to RGB."""
        photometric = self._photometric
        if not one_sample:
            pixels = pixels[..., : self.num_samples]
        if photometric == _PALETTE:
            colours = (np.asarray(self._keyframe.colormap) >> 8).astype(np.uint8)
            return colours.T[pixels[..., 0].astype(np.intp)]
        if photometric == _CMYK:
            return rgb_from_cmyk(pixels)
        if photometric == _MIN_IS_WHITE:
            pixels = self._inverted(pixels)
        if pixels.dtype == bool:
            return pixels.astype(np.uint8) * 255
        if self._is_packed:
            largest = (1 << self._bits) - 1
            return (pixels.astype(np.uint16) * 255 // largest).astype(np.uint8)
        return pixels

    def _inverted(self, pixels: np.ndarray) -> np.ndarray:
        if pixels.dtype == bool:
            return ~pixels
        if pixels.dtype.kind == "u":
            return pixels.dtype.type((1 << int(self._bits)) - 1) - pixels
        return ~pixels if pixels.dtype.kind == "i" else -pixels


def read_contiguous(
    file: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    index: int,
    window: Window,
    reader: PageReader,
) -> np.ndarray:
    """Read a window of plane ``index`` where the pixels of all planes follow each other behind one header (ImageJ).

    Raises:
        ImageError: the file ends before the plane does, or its planes are compressed.
    """
    key = series.keyframe
    if series.dataoffset is None or (int(key.planarconfig) == 2 and key.samplesperpixel > 1):
        raise ImageError(f"has one page for a series of shape {series.shape}")
    dtype = reader.stored_dtype.newbyteorder(file.byteorder)
    row_values = key.imagewidth * key.samplesperpixel
    plane_bytes = key.imagelength * row_values * dtype.itemsize
    y0, x0, height, width = window
    begin = series.dataoffset + index * plane_bytes + y0 * row_values * dtype.itemsize
    handle = file.filehandle
    num_bytes = height * row_values * dtype.itemsize
    if begin + num_bytes > handle.size:
        raise ImageError(f"is cut off in plane {index} ({reader.description})")
    handle.seek(begin)
    rows = np.frombuffer(handle.read(num_bytes), dtype).reshape(height, key.imagewidth, -1)
    cut = rows[:, x0 : x0 + width].astype(dtype.newbyteorder("="))
    return reader.converted(cut)
