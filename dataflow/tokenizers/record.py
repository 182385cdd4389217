"""What is written down of a tokenizer."""

from __future__ import annotations

import msgspec

TOKENIZER_FILE = "tokenizer.json"
"""The tokenizer's file beside what was made with it."""


class TokenizerRecord(msgspec.Struct, kw_only=True, frozen=True):
    """A tokenizer.

    Attributes:
        name: the Hub repository, or the last part of the folder's path.
        revision, commit: as asked for, and what that was; None for a folder.
        sha256: of the `tokenizer.json` beside what was made with it, which is all that tokenising needs.
        files: of the tokenizer, by SHA-256.
        vocabulary: its largest id and one.
        eos, eos_id: the token behind each document.
    """

    name: str
    revision: str | None
    commit: str | None
    sha256: str
    files: dict[str, str]
    vocabulary: int
    eos: str
    eos_id: int
