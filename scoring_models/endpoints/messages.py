"""Messages of a chat: texts, and images as data URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.images_io import decode_image

Messages = Sequence[dict[str, Any]]
"""What an endpoint is asked: messages with `role` and `content`, as OpenAI's chat completions have them."""

MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
"""First bytes of the formats that every server reads (JPEG: ITU-T T.81 B.1.1.3; PNG: its section 5.2)."""


def question(text: str, image: bytes | None = None, system: str | None = None) -> Messages | RowError:
    """One question with an image or without, or why the image can't be sent.

    Args:
        text: what is asked.
        image: bytes of a file of any format that Pillow reads; None for none.
        system: a message before it; None for none.
    """
    first = [] if system is None else [{"role": "system", "content": system}]
    if image is None:
        return [*first, {"role": "user", "content": text}]
    part = image_part(image)
    if isinstance(part, RowError):
        return part
    return [*first, {"role": "user", "content": [part, {"type": "text", "text": text}]}]


def image_part(data: bytes) -> dict[str, Any] | RowError:
    """An image as a part of a message: JPEG and PNG byte for byte, anything else as PNG."""
    kind = next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), None)
    if kind is None:
        made = _as_png(data)
        if isinstance(made, RowError):
            return made
        kind, data = "image/png", made
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"}}


def _as_png(data: bytes) -> bytes | RowError:
    image = decode_image(data)
    if isinstance(image, RowError):
        return image
    out = io.BytesIO()
    image.convert("RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB").save(out, "PNG")
    return out.getvalue()
