"""Files of every format that is read, written with known pixels."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile
from PIL import Image as PillowImage

SIZE_HW = (61, 47)


@dataclass(frozen=True)
class Written:
    """A way to write a file, and what has to be read from it.

    Attributes:
        name: of the file; the part before the first dot says what is special.
        write: takes the path, writes it and returns the pixels (H, W, C) that have to be read.
        tolerance: largest difference, for lossy formats.
    """

    name: str
    write: Callable[[Path], np.ndarray]
    tolerance: float = 0.0


def gray(dtype: Any = np.uint8, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    """Return smooth structure with noise over most of the type's range."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    wave = 0.5 + 0.3 * np.sin(x / 7.0) * np.cos(y / 5.0) + 0.1 * rng.random(size_hw)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (wave * 3 - 1).astype(kind)
    if kind.kind == "b":
        return wave > 0.5
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    return (low + wave * (float(high) - float(low))).astype(kind)


def rgb(dtype: Any = np.uint8, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    plane = gray(dtype, size_hw)
    return np.stack([plane, plane[::-1], plane[:, ::-1]], axis=2)


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    alpha = gray(pixels.dtype, pixels.shape[:2])[::-1, ::-1]
    return np.dstack([pixels, alpha])


def _bytes(encode: Callable[[], Any], pixels: np.ndarray) -> Callable[[Path], np.ndarray]:
    def write(path: Path) -> np.ndarray:
        path.write_bytes(bytes(encode()))
        return pixels.reshape(*pixels.shape[:2], -1)

    return write


def _pillow(
    picture: Callable[[], PillowImage.Image], pixels: np.ndarray, **options: Any
) -> Callable[[Path], np.ndarray]:
    def write(path: Path) -> np.ndarray:
        picture().save(path, **options)
        return pixels.reshape(*pixels.shape[:2], -1)

    return write


def _tiff(
    stored: np.ndarray, pixels: np.ndarray | None = None, **options: Any
) -> Callable[[Path], np.ndarray]:
    def write(path: Path) -> np.ndarray:
        # tifffile takes bool for MinIsWhite if it is not told.
        black = {"photometric": "minisblack"} if stored.dtype == bool else {}
        tifffile.imwrite(path, stored, **copy.deepcopy({"metadata": None, **black, **options}))
        expected = stored if pixels is None else pixels
        return expected.reshape(*expected.shape[:2], -1)

    return write


def _palette() -> tuple[np.ndarray, np.ndarray]:
    indices = gray() // 16
    colours = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    return indices, colours


def _palette_picture() -> PillowImage.Image:
    indices, colours = _palette()
    picture = PillowImage.fromarray(indices)
    picture.putpalette(colours.ravel().tolist())
    return picture


def plain_files() -> list[Written]:
    """PNG, JPEG, BMP, WebP, npy."""
    g8, g16, c8, c16 = gray(), gray(np.uint16), rgb(), rgb(np.uint16)
    bits = gray(bool)
    indices, colours = _palette()
    png = imagecodecs.png_encode
    smooth = cv2.GaussianBlur(g8, (0, 0), 3)
    smooth_rgb = cv2.GaussianBlur(c8, (0, 0), 3)
    cmyk = PillowImage.fromarray(smooth_rgb).convert("CMYK")
    files = [
        Written("1bit.png", _pillow(lambda: PillowImage.fromarray(bits), bits * np.uint8(255))),
        Written("8bit.png", _bytes(lambda: png(g8), g8)),
        Written("16bit.png", _bytes(lambda: png(g16), g16)),
        Written("8bit_alpha.png", _bytes(lambda: png(with_alpha(g8)), g8)),
        Written("16bit_alpha.png", _bytes(lambda: png(with_alpha(g16)), g16)),
        Written("rgb.png", _bytes(lambda: png(c8), c8)),
        Written("rgb16.png", _bytes(lambda: png(c16), c16)),
        Written("rgba.png", _bytes(lambda: png(with_alpha(c8)), c8)),
        Written("rgba16.png", _bytes(lambda: png(with_alpha(c16)), c16)),
        Written("palette.png", _pillow(_palette_picture, colours[indices])),
        Written("palette_4bit.png", _pillow(_palette_picture, colours[indices], bits=4)),
        Written("palette_alpha.png", _pillow(_palette_picture, colours[indices], transparency=3)),
        Written("gray.jpg", _pillow(lambda: PillowImage.fromarray(smooth), smooth, quality=97), 4),
        Written(
            "rgb.jpg", _pillow(lambda: PillowImage.fromarray(smooth_rgb), smooth_rgb, quality=97), 9
        ),
        Written(
            "progressive.jpg",
            _pillow(
                lambda: PillowImage.fromarray(smooth_rgb),
                smooth_rgb,
                quality=97,
                progressive=True,
                subsampling=0,
            ),
            6,
        ),
        Written("cmyk.jpg", _pillow(lambda: cmyk, smooth_rgb, quality=97), 12),
        Written("1bit.bmp", _pillow(lambda: PillowImage.fromarray(bits), bits * np.uint8(255))),
        Written("8bit.bmp", _pillow(lambda: PillowImage.fromarray(g8), g8)),
        Written("palette.bmp", _pillow(_palette_picture, colours[indices])),
        Written("rgb.bmp", _pillow(lambda: PillowImage.fromarray(c8), c8)),
        Written("rgba.bmp", _pillow(lambda: PillowImage.fromarray(with_alpha(c8)), c8)),
        Written("rgb.webp", _pillow(lambda: PillowImage.fromarray(c8), c8, lossless=True)),
        Written(
            "rgba.webp",
            _pillow(lambda: PillowImage.fromarray(with_alpha(c8)), c8, lossless=True, exact=True),
        ),
        Written(
            "lossy.webp",
            _pillow(lambda: PillowImage.fromarray(smooth_rgb), smooth_rgb, quality=95),
            12,
        ),
    ]
    for dtype in ("bool", "uint8", "uint16", "int16", "uint32", "float32", "float64", ">u2"):
        files.append(Written(f"{dtype.strip('>')}{'_big' * ('>' in dtype)}.npy", _npy(gray(dtype))))
    files.append(Written("rgb.npy", _npy(c8)))
    return files


def _npy(pixels: np.ndarray) -> Callable[[Path], np.ndarray]:
    def write(path: Path) -> np.ndarray:
        np.save(path, pixels)
        expected = pixels * np.uint8(255) if pixels.dtype == bool else pixels
        return expected.reshape(*pixels.shape[:2], -1)

    return write


_TYPES = [
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "int8",
    "int16",
    "int32",
    "float16",
    "float32",
    "float64",
]
_LOSSLESS = {
    "lzw": _TYPES,
    "deflate": _TYPES,
    "packbits": ["bool", "uint8", "uint16"],
    "zstd": ["uint8", "uint16", "float32"],
    "lzma": ["uint8", "uint16", "float32"],
    "jpeg2000": ["uint8", "uint16"],
    "jpegxl": ["uint8", "uint16", "float32"],
    "lerc": ["uint8", "uint16", "uint32", "int16", "float32", "float64"],
    "webp": ["rgb"],
}


def _options(codec: str) -> dict[str, Any]:
    if codec == "none":
        return {}
    lossless: dict[str, Any] = {
        "jpeg2000": {"level": 0, "reversible": True},
        "jpegxl": {"lossless": True},
        "webp": {"lossless": True},
    }
    name = codec.replace("jpeg2000", "jpeg_2000_lossy").replace("jpegxl", "jpegxl_dng")
    name = "jpegxl" if codec == "jpegxl" else name
    return {"compression": name, "compressionargs": lossless.get(codec)}


def tiff_files() -> list[Written]:
    """TIFF of every sample type, layout and codec."""
    files: list[Written] = []
    for dtype in _TYPES:
        stored = gray(dtype)
        pixels = stored * np.uint8(255) if dtype == "bool" else stored
        files.append(Written(f"{dtype}_strips.tif", _tiff(stored, pixels, rowsperstrip=9)))
        files.append(Written(f"{dtype}_one.tif", _tiff(stored, pixels)))
        files.append(Written(f"{dtype}_tiles.tif", _tiff(stored, pixels, tile=(16, 32))))
        files.append(Written(f"{dtype}_big.tif", _tiff(stored, pixels, byteorder=">")))
        files.append(Written(f"{dtype}_bigtiff.tif", _tiff(stored, pixels, bigtiff=True)))
        white = dict(photometric="miniswhite", rowsperstrip=9)
        inverted = ~pixels if stored.dtype.kind in "ui" or dtype == "bool" else -pixels
        files.append(Written(f"{dtype}_miniswhite.tif", _tiff(stored, inverted, **white)))
    for codec, kinds in _LOSSLESS.items():
        for kind in kinds:
            stored = rgb() if kind == "rgb" else gray(kind)
            pixels = stored * np.uint8(255) if kind == "bool" else stored
            layouts: dict[str, dict[str, Any]] = {
                "strips": dict(rowsperstrip=16),
                "tiles": dict(tile=(32, 32)),
            }
            for layout, options in layouts.items():
                files.append(
                    Written(
                        f"{codec}_{kind}_{layout}.tif",
                        _tiff(stored, pixels, **options, **_options(codec)),
                    )
                )
    for dtype in ("uint8", "uint16", "float32"):
        for codec in ("lzw", "deflate", "zstd"):
            for byteorder in "<>":
                files.append(
                    Written(
                        f"predictor_{dtype}_{codec}_{'little' if byteorder == '<' else 'big'}.tif",
                        _tiff(
                            gray(dtype),
                            predictor=True,
                            byteorder=byteorder,
                            rowsperstrip=16,
                            **_options(codec),
                        ),
                    )
                )
    for dtype in ("uint8", "uint16"):
        colour = rgb(dtype)
        for planar in ("contig", "separate"):
            stored = colour if planar == "contig" else np.moveaxis(colour, 2, 0)
            alpha = with_alpha(colour)
            rgba = alpha if planar == "contig" else np.moveaxis(alpha, 2, 0)
            for layout, options in dict(
                strips=dict(rowsperstrip=16), tiles=dict(tile=(32, 32))
            ).items():
                common: dict[str, Any] = dict(photometric="rgb", planarconfig=planar, **options)
                files += [
                    Written(f"rgb_{dtype}_{planar}_{layout}.tif", _tiff(stored, colour, **common)),
                    Written(
                        f"rgba_{dtype}_{planar}_{layout}.tif",
                        _tiff(rgba, colour, extrasamples=["unassalpha"], **common),
                    ),
                    Written(
                        f"rgb_lzw_predictor_{dtype}_{planar}_{layout}.tif",
                        _tiff(stored, colour, compression="lzw", predictor=True, **common),
                    ),
                ]
    gray_alpha = with_alpha(gray())
    files.append(
        Written(
            "gray_alpha.tif",
            _tiff(
                gray_alpha,
                gray(),
                photometric="minisblack",
                planarconfig="contig",
                extrasamples=["unassalpha"],
            ),
        )
    )
    smooth, smooth_rgb = cv2.GaussianBlur(gray(), (0, 0), 3), cv2.GaussianBlur(rgb(), (0, 0), 3)
    jpeg = dict(compression="jpeg", compressionargs={"level": 97})
    files += [
        Written("jpeg_gray_strips.tif", _tiff(smooth, rowsperstrip=16, **jpeg), 5),
        Written("jpeg_gray_tiles.tif", _tiff(smooth, tile=(32, 32), **jpeg), 5),
        Written(
            "jpeg_rgb_strips.tif", _tiff(smooth_rgb, photometric="rgb", rowsperstrip=16, **jpeg), 9
        ),
        # tifffile pads tiles with zeros, and JPEG rings at that edge.
        Written(
            "jpeg_rgb_tiles.tif", _tiff(smooth_rgb, photometric="rgb", tile=(32, 32), **jpeg), 40
        ),
        Written("jpegtables_rgb_tiles.tif", _pillow_tiff_jpeg(smooth_rgb), 12),
    ]
    indices, colours = _palette()
    colormap = (colours.T.astype(np.uint16) * 257).astype(np.uint16)
    files.append(
        Written(
            "palette.tif",
            _tiff(indices, colours[indices], photometric="palette", colormap=colormap),
        )
    )
    cmyk = np.asarray(PillowImage.fromarray(rgb()).convert("CMYK"))
    files.append(Written("cmyk.tif", _tiff(cmyk, rgb(), photometric="separated"), 1))
    for bits in (2, 4, 6):
        stored = gray() >> (8 - bits)
        scaled = (stored.astype(int) * 255 // ((1 << bits) - 1)).astype(np.uint8)
        files.append(
            Written(
                f"{bits}bit.tif",
                _tiff(stored, scaled, bitspersample=bits, rowsperstrip=9),
            )
        )
    twelve = (gray(np.uint16) >> 4).astype(np.uint16)
    files += [
        Written("12bit.tif", _tiff(twelve, bitspersample=12, rowsperstrip=9)),
        Written(
            "12bit_miniswhite.tif",
            _tiff(twelve, 4095 - twelve, bitspersample=12, photometric="miniswhite"),
        ),
    ]
    return files


def _pillow_tiff_jpeg(pixels: np.ndarray) -> Callable[[Path], np.ndarray]:
    """libtiff writes the tables of JPEG once for all strips."""

    def write(path: Path) -> np.ndarray:
        PillowImage.fromarray(pixels).save(path, compression="jpeg", quality=95)
        return pixels

    return write
