"""What a client and its workers must have in common: poolsieve, Beam, and Python's minor version.

Functions cross as pickles, which another minor version of Python can't read, and scores are to be the same numbers.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version

SAME = ("poolsieve", "beam", "python")
"""What must be equal."""


def versions() -> dict[str, str]:
    """Those of this process, as `{"poolsieve": "0.1.0", "beam": "2.77.0", "python": "3.11"}`."""
    minor = ".".join(platform.python_version_tuple()[:2])
    return {"poolsieve": version("poolsieve"), "beam": version("apache-beam"), "python": minor}


def differences(here: Mapping[str, str], there: Mapping[str, str], who: str) -> str:
    """What differs, as `worker: Python 3.12, client: 3.11`; empty if nothing does. What one side does not say is equal.

    Args:
        here: versions of the client.
        there: versions of the other side.
        who: its name.
    """
    found = [
        f"{name} {there[name]} ({who}) against {here[name]} (client)"
        for name in SAME
        if name in here and name in there and here[name] != there[name]
    ]
    return ", ".join(found)
