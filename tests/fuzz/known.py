"""Falls that are known and not mended yet: their symptoms, with the item of issue 10 that each belongs to.

Whoever mends an item takes its lines out; what is left of them falls then.
"""

from __future__ import annotations

import re

KNOWN: dict[str, str] = {}
"""Regular expression over a line of what fell -> item; empty where all that fell is mended."""


def unknown(falls: list[str]) -> list[str]:
    """The falls that no item covers."""
    return [text for text in falls if not any(re.search(symptom, text, re.DOTALL) for symptom in KNOWN)]
