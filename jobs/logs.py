"""Logging of the command line: warnings and errors on stderr, without what libraries say of errors that they raise."""

from __future__ import annotations

import logging
import os


def configure() -> None:
    """Sets up logging before Beam is imported. `POOLSIEVE_LOG=info` (or debug) shows everything."""
    level = os.environ.get("POOLSIEVE_LOG", "warning").upper()
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", force=True)
    if level == "WARNING":
        # Whatever fails comes back as an exception, which the command line prints once and in words.
        for name in ("apache_beam", "gcsfs"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # Beam has critical ones, too
