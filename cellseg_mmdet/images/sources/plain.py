"""PNG, JPEG, BMP and WebP: Pillow reads their headers and their pixels, but those of PNG, which it cuts to 8 bits."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import BinaryIO, ClassVar

import imagecodecs
import numpy as np
from PIL import (
    BmpImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)
from PIL import Image as PillowImage
from PIL import ImageFile as PillowFile

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.fileio import is_bomb
from cellseg_mmdet.images.orientation import Window, usable_orientation
from cellseg_mmdet.images.scene import FORMATS, ImageFile, Scene

_EXIF_ORIENTATION = 274
_PNG_SIGNATURE_BYTES = 8


class PlainScene(Scene):
    """A picture that can be decoded as a whole only.

    Args:
        codec: name of the format.
        header: the file, opened by Pillow.
        decode: returns the pixels (H, W), (H, W, 2), (H, W, 3) or (H, W, 4) of a frame; two and four have alpha.
        is_gray: whether there is one value a pixel, beside alpha.
        num_bytes: of the file.
    """

    def __init__(
        self,
        codec: str,
        header: PillowFile.ImageFile,
        decode: Callable[[int], np.ndarray],
        *,
        is_gray: bool,
        num_bytes: int,
    ) -> None:
        self.codec, self._num_bytes = codec, num_bytes
        self.is_whole = True
        self._decode = decode
        self._decoded: tuple[int, np.ndarray] | None = None
        height, width = header.height, header.width
        frames = int(getattr(header, "n_frames", 1))
        self.axes = ("T" if frames > 1 else "") + ("YX" if is_gray else "YXS")
        self.shape = ((frames,) if frames > 1 else ()) + (
            (height, width) if is_gray else (height, width, 3)
        )
        self.levels = ((height, width),)

    def read(self, at: Mapping[str, int], window: Window, level: int = 0) -> np.ndarray:
        """Decode the picture once and cut the window out of it."""
        frame = at.get("T", 0)
        if self._decoded is None or self._decoded[0] != frame:
            self._decoded = frame, self._whole(frame)
        y0, x0, height, width = window
        return self._decoded[1][y0 : y0 + height, x0 : x0 + width]

    def _whole(self, frame: int) -> np.ndarray:
        height, width = self.levels[0]
        size = height * width * (3 if "S" in self.axes else 1) * self.dtype.itemsize
        if is_bomb(size, self._num_bytes):
            raise ImageError(
                f"{height} x {width} pixels from {self._num_bytes} bytes: it is blank, or its header is wrong; "
                "save it as TIFF where it was made"
            )
        pixels = self._decode(frame)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        samples = pixels.shape[2]
        pixels = pixels[..., : samples - 1] if samples in (2, 4) else pixels  # without alpha
        expected = (*self.levels[0], 3 if "S" in self.axes else 1)
        if pixels.shape != expected:
            raise ImageError(f"decoded to {pixels.shape} where its header says {expected}")
        return pixels


class _Plain(ImageFile):
    codec: ClassVar[str]
    plugin: ClassVar[Callable[..., PillowFile.ImageFile]]

    def __init__(self, content: BinaryIO | str | os.PathLike[str], name: str) -> None:
        assert not isinstance(content, str | os.PathLike)
        self._content = content
        # Not PIL.Image.open: that has a limit of its own on the size, 179 megapixels for the whole process.
        self._header = type(self).plugin(content)
        num_bytes = content.seek(0, os.SEEK_END)
        scene = PlainScene(
            self.codec, self._header, self._decode, is_gray=self._is_gray(), num_bytes=num_bytes
        )
        scene.dtype = self._dtype()
        scene.orientation = usable_orientation(self._exif().get(_EXIF_ORIENTATION, 1))
        self.scenes = (scene,)

    def _dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    def _is_gray(self) -> bool:
        return self._header.mode in ("1", "L", "LA")

    def _exif(self) -> PillowImage.Exif:
        return self._header.getexif()

    def _bytes(self) -> bytes:
        self._content.seek(0)
        return self._content.read()

    def _decode(self, frame: int) -> np.ndarray:
        self._header.seek(frame)
        picture: PillowFile.ImageFile = self._header
        if picture.mode in ("L", "RGB", "RGBA", "LA"):
            return np.asarray(picture)
        return np.asarray(picture.convert("L" if picture.mode == "1" else "RGB"))

    def close(self) -> None:
        self._header.close()


@FORMATS.register("png")
class PngFile(_Plain):
    """PNG of 1 to 16 bits: gray, colour, palette, each with or without alpha."""

    suffixes = (".png",)
    codec = "PNG"
    plugin = PngImagePlugin.PngImageFile

    @classmethod
    def accepts(cls, head: bytes, path: str) -> bool:
        return head.startswith(b"\x89PNG\r\n\x1a\n")

    def _dtype(self) -> np.dtype:
        return np.dtype(np.uint16 if self._bits_and_colour()[0] == 16 else np.uint8)

    def _is_gray(self) -> bool:
        return self._bits_and_colour()[1] in (0, 4)

    def _exif(self) -> PillowImage.Exif:
        """Look for the chunk from one to the next: Pillow decodes the picture for it, as it may stand at the end."""
        exif = PillowImage.Exif()
        self._content.seek(_PNG_SIGNATURE_BYTES)
        while len(begin := self._content.read(8)) == 8:
            length, name = int.from_bytes(begin[:4], "big"), begin[4:]
            if name == b"eXIf":
                exif.load(self._content.read(length))
                break
            self._content.seek(length + 4, os.SEEK_CUR)  # 4 bytes of checksum
        return exif

    def _bits_and_colour(self) -> bytes:
        """Return bit depth and colour type of the header: Pillow's modes do not tell all of them apart."""
        self._content.seek(24)  # behind signature, IHDR's length and name, width and height
        return self._content.read(2)

    def _decode(self, frame: int) -> np.ndarray:
        if (
            frame or getattr(self._header, "n_frames", 1) > 1
        ):  # an animation: libpng knows the first frame only
            return super()._decode(frame)
        return imagecodecs.png_decode(self._bytes())


@FORMATS.register("jpeg")
class JpegFile(_Plain):
    """JPEG: gray, colour and CMYK, of 8 bits."""

    suffixes = (".jpg", ".jpeg")
    codec = "JPEG"
    plugin = JpegImagePlugin.JpegImageFile

    @classmethod
    def accepts(cls, head: bytes, path: str) -> bool:
        return head.startswith(b"\xff\xd8\xff")

    def _decode(self, frame: int) -> np.ndarray:
        pixels = np.asarray(self._header)
        if self._header.mode != "CMYK":
            check_jpeg(self._bytes())
            return pixels
        return rgb_from_cmyk(pixels)


@FORMATS.register("bmp")
class BmpFile(_Plain):
    """BMP."""

    suffixes = (".bmp",)
    codec = "BMP"
    plugin = BmpImagePlugin.BmpImageFile

    @classmethod
    def accepts(cls, head: bytes, path: str) -> bool:
        return head.startswith(b"BM")


@FORMATS.register("webp")
class WebPFile(_Plain):
    """WebP."""

    suffixes = (".webp",)
    codec = "WebP"
    plugin = WebPImagePlugin.WebPImageFile

    @classmethod
    def accepts(cls, head: bytes, path: str) -> bool:
        return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def check_jpeg(data: bytes) -> None:
    """Refuse a JPEG stream whose entropy-coded data are damaged.

    libjpeg warns about such data and goes on with gray or shifted blocks, and neither Pillow, OpenCV nor imagecodecs
    hands its warnings on. libjxl's lossless transcoder parses the same stream and stops at the first bad code.

    Raises:
        ImageError: the data are damaged.
    """
    try:
        imagecodecs.jpegxl_encode_jpeg(data, usecontainer=False)
    except imagecodecs.JpegxlError as error:
        raise ImageError("its compressed data are damaged") from error


def rgb_from_cmyk(pixels: np.ndarray) -> np.ndarray:
    """Convert (H, W, 4) of ink, 0 for none, to RGB of the same unsigned type: what ink leaves of white light."""
    largest = np.iinfo(pixels.dtype).max
    light = (largest - pixels).astype(np.float64)
    return np.rint(light[..., :3] * light[..., 3:] / largest).astype(pixels.dtype)
