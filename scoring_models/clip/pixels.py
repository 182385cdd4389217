"""From the bytes of an image to the pixels that CLIP's image tower takes: open_clip's transform, value for value."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.base.images_io import MAX_PIXELS, decoded, open_image, turn

Array = np.ndarray[Any, Any]


class Pixels:
    """Images as uint8 (height, width, 3), decoded, resized and cropped as open_clip does. Safe in several threads.

    Args:
        transform: open_clip's, for inference.

    Raises:
        PlanError: for a transform that does not end in `ToTensor` and `Normalize`.
    """

    def __init__(self, transform: Any) -> None:
        self._pil, self.normalise = split_transform(transform)
        self._side = _side(self._pil)
        self._plain = _plain(self._pil)

    def __call__(self, data: bytes) -> Array | RowError:
        """One image's pixels, or why it has none.

        Raises:
            MemoryError: if memory is short.
        """
        image = open_image(data)
        if isinstance(image, RowError):
            return image
        resized = self._resized(image)
        if resized > MAX_PIXELS:
            return RowError("image_bomb", f"{image.width} x {image.height}: too long and thin to be resized")
        with turn(max(image.width * image.height, resized)):
            found = decoded(image, data)
            return found if isinstance(found, RowError) else self.of(found)

    def of(self, image: Image.Image) -> Array:
        """The pixels of a decoded image."""
        if self._plain is None:
            return np.asarray(self._pil(image))
        small = self._plain.cut(image)
        return np.asarray(small if small.mode == "RGB" else small.convert("RGB"))

    def _resized(self, image: Image.Image) -> int:
        """Pixels of the whole image when its shorter side is the model's, which is before anything is cut off."""
        short, long = sorted(image.size)
        return self._side**2 * long // max(short, 1)


class Shortest(NamedTuple):
    """`Resize(side)` of the shorter side and `CenterCrop(side)`, as calls of Pillow alone.

    The numbers are torchvision's: `_compute_resized_output_size` and `center_crop` of `transforms.functional`.
    """

    side: int
    resample: Image.Resampling

    def cut(self, image: Image.Image) -> Image.Image:
        """A decoded image, resized and cropped, in its own mode."""
        (width, height), side = image.size, self.side
        long = int(side * max(width, height) / min(width, height))
        size = (side, long) if width <= height else (long, side)
        small = image if size == image.size else image.resize(size, self.resample)
        left, top = (round((extent - side) / 2.0) for extent in size)
        return small.crop((left, top, left + side, top + side))


def split_transform(transform: Any) -> tuple[Any, Any]:
    """(the part on PIL images, the normalisation): so that pixels travel as uint8 and are normalised in batches.

    `ToTensor` on uint8 is a division by 255 in float32, and both it and `Normalize` work pixel by pixel, so that doing
    them on a batch gives the same bits.
    """
    from torchvision.transforms import Compose, Normalize, ToTensor

    steps = list(transform.transforms)
    at = next((i for i, step in enumerate(steps) if isinstance(step, ToTensor)), None)
    if at is None or len(steps) != at + 2 or not isinstance(steps[-1], Normalize):
        raise PlanError(f"this model's preprocessing is not one that poolsieve can batch: {transform}")
    return Compose(steps[:at]), steps[-1]


def _plain(pil: Any) -> Shortest | None:
    """The usual steps without torchvision around them; None if these are others."""
    from open_clip.transform import MaybeConvertMode
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    kinds = {InterpolationMode.BICUBIC: Image.Resampling.BICUBIC, InterpolationMode.BILINEAR: Image.Resampling.BILINEAR}
    steps = pil.transforms
    if [type(step) for step in steps] != [Resize, CenterCrop, MaybeConvertMode]:
        return None
    resize, crop, convert = steps
    usual = isinstance(resize.size, int) and resize.max_size is None and resize.interpolation in kinds
    if not usual or tuple(crop.size) != (resize.size, resize.size) or convert.mode != "RGB":
        return None
    return Shortest(resize.size, kinds[resize.interpolation])


def _side(pil: Any) -> int:
    """The side that the shorter one of an image is brought to, whatever the longer becomes; 0 if both are bounded."""
    from open_clip.transform import ResizeKeepRatio
    from torchvision.transforms import Resize

    for step in pil.transforms:
        if isinstance(step, ResizeKeepRatio) and step.longest < 1:
            return int(max(step.size))
        if isinstance(step, Resize) and (isinstance(step.size, int) or len(step.size) == 1):
            return int(step.size if isinstance(step.size, int) else step.size[0])
    return 0
