"""Width and height of images, from their headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from PIL import Image

from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.images_io import open_image
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig


@dataclass(frozen=True, eq=False)
class ImageSize(ScorerConfig):
    """Width and height of the stored image in pixels, from its header alone."""

    image: str = "image"
    version: int = 1

    packages = ("pillow",)

    @property
    def reads(self) -> tuple[str, ...]:
        """The image role."""
        return (self.image,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`width` and `height`, int32."""
        return {"width": pa.int32(), "height": pa.int32()}

    @property
    def resources(self) -> Resources:
        """Parsing headers is Python work."""
        return Resources(holds_gil=True)

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Sizes of a batch; null for a null image."""
        sizes: list[tuple[Any, Any]] = []
        errors: dict[int, RowError] = {}
        for i, value in enumerate(batch.column(self.image)):
            found = open_image(value.as_py()) if value.is_valid else None
            if isinstance(found, RowError):
                errors[i] = found
            sizes.append(found.size if isinstance(found, Image.Image) else (None, None))
        width, height = ([size[k] for size in sizes] for k in (0, 1))
        return Scored({"width": pa.array(width, pa.int32()), "height": pa.array(height, pa.int32())}, errors)
