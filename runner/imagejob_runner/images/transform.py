"""The shape-changing operations of a transform step, and how small a picture they can start from."""

from collections.abc import Sequence

from PIL import Image

from imagejob_api.pipeline import Crop, Operation, Preprocess, Resize, Thumbnail
from imagejob_runner.images.preprocess import shorter_side
from imagejob_runner.images.scaling import scale, scaled_size


def apply(image: Image.Image, operations: Sequence[Operation], background: str) -> Image.Image:
    """Applies `operations` in order.

    Args:
        image: An RGB picture.
        operations: Resize, crop and thumbnail operations.
        background: Colour as #rrggbb for what a crop larger than the picture leaves open.

    Returns:
        The picture; `image` itself when nothing changes.
    """
    for operation in operations:
        if operation.resize is not None:
            image = scale(image, _resized(image.size, operation.resize), operation.resize.filter)
        elif operation.crop is not None:
            image = _crop(image, operation.crop, background)
        elif operation.thumbnail is not None:
            image = scale(image, _fitted(image.size, operation.thumbnail), "bicubic")
    return image


def draft_target(what: Sequence[Operation] | Preprocess) -> tuple[int, int] | None:
    """Smallest width and height that a picture may be decoded to so that `what` never has to enlarge it again.

    Args:
        what: The operations of a transform step, or the preprocessing of a model.

    Returns:
        Width and height in pixels of the upright picture, both to be kept; None when the full size is needed (no operations, or a crop in
        the picture's own pixels comes first).
    """
    if isinstance(what, Preprocess):
        side = shorter_side(what)
        return side, side
    if not what:
        return None
    first = what[0]
    if first.resize is not None:
        side = first.resize.shorter or 1
        return first.resize.width or side, first.resize.height or side
    if first.thumbnail is not None:
        return first.thumbnail.width, first.thumbnail.height
    return None


def _resized(size: tuple[int, int], resize: Resize) -> tuple[int, int]:
    if resize.shorter is not None:
        return scaled_size(size, resize.shorter / min(size))
    return resize.width or size[0], resize.height or size[1]


def _fitted(size: tuple[int, int], box: Thumbnail) -> tuple[int, int]:
    return scaled_size(size, min(box.width / size[0], box.height / size[1], 1.0))


def _crop(image: Image.Image, crop: Crop, background: str) -> Image.Image:
    size = (crop.width, crop.height)
    if image.size == size:
        return image
    result = Image.new("RGB", size, background)
    # Pillow clips a paste that begins left of or above the canvas, so this cuts and pads at once.
    result.paste(image, ((crop.width - image.width) // 2, (crop.height - image.height) // 2))
    return result
