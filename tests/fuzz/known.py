"""Falls that are known and not mended yet: their symptoms, with the item of issue 10 that each belongs to.

Whoever mends an item takes its lines out; what is left of them falls then.
"""

from __future__ import annotations

import re

KNOWN: dict[str, str] = {
    # scorer(columns={f: "float32"}), Top(by=f), Edit(text=Masked): a function or a class where a name or an editor is wanted.
    r"TypeError: keys must be str.* < config.py:canonical_json": "Messages",
    r"AttributeError: 'function' object has no attribute 'rpartition' < statistics.py:statistic_of": "Messages",
    r"TypeError: 'property' object is not iterable < compile.py:add_edit": "Messages",
}
"""Regular expression over a line of what fell -> item; empty where all that fell is mended."""


def unknown(falls: list[str]) -> list[str]:
    """The falls that no item covers."""
    return [text for text in falls if not any(re.search(symptom, text, re.DOTALL) for symptom in KNOWN)]
