"""`scorer.json`: what a scorer's stored scores were made with, and the check that later workers honour it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from poolsieve.dataflow import fs
from poolsieve.scoring_models.base.errors import PoolsieveError


class SettingsChanged(PoolsieveError):
    """A worker can't honour the dtype, shapes, threads or device that a scorer's stored scores were made with."""


def check_settings(folder: str, parts: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Writes `scorer.json` at first use, and checks later workers against it.

    Raises:
        SettingsChanged: naming the settings that differ.
    """
    url = fs.join(folder, "scorer.json")
    wanted = json.loads(json.dumps({**parts, "settings": dict(settings)}, sort_keys=True, default=str))
    if not fs.exists(url):
        fs.write_bytes(url, (json.dumps(wanted, indent=1, sort_keys=True) + "\n").encode())
        return
    found = json.loads(fs.read_bytes(url)).get("settings", {})
    mine = wanted["settings"]
    changed = sorted(key for key in {*found, *mine} if found.get(key) != mine.get(key))
    if changed:
        detail = "; ".join(f"{key}: stored {found.get(key)!r}, here {mine.get(key)!r}" for key in changed)
        raise SettingsChanged(
            f"{folder} was scored with other settings ({detail}), so scores would not compare. Score on the same kind "
            "of device and with the same options, or name the scorer's options in the recipe so that it is scored anew."
        )


def stored_scorers(out: str) -> list[dict[str, Any]]:
    """`scorer.json` of every scorer in OUT, with its folder's name under `folder`."""
    found = []
    for folder in fs.names(fs.join(out, "scores")):
        url = fs.join(out, "scores", folder, "scorer.json")
        if fs.exists(url):
            found.append({**json.loads(fs.read_bytes(url)), "folder": folder})
    return found
