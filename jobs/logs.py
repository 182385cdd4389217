"""Logging of the command line: warnings and errors on stderr, without Beam's remarks about itself."""

from __future__ import annotations

import logging
import os


def configure() -> None:
    """Sets up logging before Beam is imported. `POOLSIEVE_LOG=info` (or debug) shows everything."""
    level = os.environ.get("POOLSIEVE_LOG", "warning").upper()
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", force=True)
    if level == "WARNING":
        # Whatever fails comes back as an exception, which the command line prints once and in words.
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL + 1)  # it has critical ones, too
