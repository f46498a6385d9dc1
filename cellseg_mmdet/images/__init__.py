"""Pictures: read by one reader, in one way, whatever they are stored in."""

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images.image import Image
from cellseg_mmdet.images.image_source import ImageSource
from cellseg_mmdet.images.listing import (
    files_by_stem,
    find_images,
    image_suffixes,
    is_image,
    list_files,
)
from cellseg_mmdet.images.selection import (
    PlaneSelection,
    add_plane_arguments,
    selection_from,
)
from cellseg_mmdet.images.sizes import sizes_hw_of
from cellseg_mmdet.images.source import (
    MAX_PIXELS,
    Source,
    image_size_hw,
    open_image,
    open_images,
    read_image,
)
from cellseg_mmdet.structures.image_key import ImageKey

__all__ = [
    "MAX_PIXELS",
    "Image",
    "ImageError",
    "ImageKey",
    "ImageSource",
    "PlaneSelection",
    "Source",
    "add_plane_arguments",
    "files_by_stem",
    "find_images",
    "image_size_hw",
    "image_suffixes",
    "is_image",
    "list_files",
    "open_image",
    "open_images",
    "read_image",
    "selection_from",
    "sizes_hw_of",
]
