"""Where a model is reached, with what limits: all that a question must know of it."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.endpoints.tally import Tally

CHAT = "/chat/completions"
MOST_AT_ONCE = 1024

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,79}")
_LONG_WORD = re.compile(r"[A-Z0-9]{21}")
"""Names of variables have shorter words; keys have not."""


@dataclass(frozen=True, eq=False)
class Server(Config):
    """The fields of an `Endpoint`, which says what they mean."""

    url: str = field(repr=False, metadata={"runtime": True})
    model: str
    key: str | None = field(default=None, kw_only=True, metadata={"runtime": True})
    concurrency: int = field(default=8, kw_only=True, metadata={"runtime": True})
    timeout: float = field(default=120.0, kw_only=True, metadata={"runtime": True})
    attempts: int = field(default=6, kw_only=True, metadata={"runtime": True})
    patience: float = field(default=900.0, kw_only=True, metadata={"runtime": True})
    max_tokens: int = field(default=512, kw_only=True)
    temperature: float = field(default=0.0, kw_only=True)
    price: tuple[float, float] | None = field(default=None, kw_only=True, metadata={"runtime": True})

    def __post_init__(self) -> None:
        _check_url(self.url)
        _check_key(self.key)
        if not isinstance(self.model, str) or not self.model.strip():
            raise PlanError(f"Endpoint(model={short(self.model)}): give the model's name on the server")
        for name, most in (("concurrency", MOST_AT_ONCE), ("attempts", 100), ("max_tokens", 1 << 20)):
            _check_whole(name, getattr(self, name), most)
        for name, largest in (("timeout", 3600.0), ("patience", 86400.0), ("temperature", 10.0)):
            _check_number(name, getattr(self, name), largest)
        object.__setattr__(self, "temperature", float(self.temperature))  # 0 and 0.0 are one fingerprint
        if self.price is not None:
            object.__setattr__(self, "price", _price(self.price))

    @property
    def host(self) -> str:
        """The server's name and port: what messages say of the address."""
        return urlsplit(self.url).netloc

    @property
    def address(self) -> str:
        """The whole address of the chat completions."""
        base = self.url.rstrip("/")
        if base.endswith(CHAT):
            return base
        return f"{base}{CHAT}" if base.endswith("/v1") else f"{base}/v1{CHAT}"

    @property
    def line_key(self) -> tuple[Any, ...]:
        """What questions must share to share connections, a limit and pauses."""
        return (self.address, self.key, self.concurrency)

    @property
    def key_words(self) -> str:
        """How messages call the key."""
        return "key= (none is given)" if self.key is None else f"the key in the environment variable {self.key}"

    def secret(self) -> str | None:
        """The key.

        Raises:
            PlanError: if the variable is not set here, or holds what no header can; names it, and not its value.
        """
        if self.key is None:
            return None
        value = os.environ.get(self.key, "").strip()
        if not value:
            raise PlanError(f"the environment variable {self.key} with the key of {self.host} is not set")
        if not all("!" <= letter <= "~" for letter in value):
            raise PlanError(f"the environment variable {self.key} holds no key: it has blanks or letters beyond ASCII")
        return value

    def headers(self) -> dict[str, str]:
        """Of a request."""
        made = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        secret = self.secret()
        return made if secret is None else {**made, "Authorization": f"Bearer {secret}"}

    def tally(self) -> Tally:
        """A new tally, with this endpoint's price."""
        return Tally(self.price)


def _check_url(url: Any) -> None:
    """Never repeats the address: it may hold what nobody should read."""
    if not isinstance(url, str):
        raise PlanError("Endpoint(url=...): give an address, as 'http://localhost:8000/v1'")
    try:
        parts = urlsplit(url)
        bad = parts.scheme not in ("http", "https") or not parts.hostname or (parts.port or 1) < 1
    except ValueError:
        bad = True
    if bad or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise PlanError("Endpoint(url=...) is no address of a server; write it as 'http://localhost:8000/v1'")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment or "?" in url:
        raise PlanError(
            f"Endpoint(url=...) at {parts.hostname} has a name, a password or parameters in it: give the address "
            "alone, and the key by key='NAME_OF_A_VARIABLE'"
        )


def _check_key(key: Any) -> None:
    """Never repeats what was given: it may be a key."""
    if key is None:
        return
    if not isinstance(key, str) or not _VARIABLE.fullmatch(key) or _LONG_WORD.search(key):
        raise PlanError(
            "Endpoint(key=...) takes the name of an environment variable that holds the key, as key='JUDGE_API_KEY': "
            "capital letters, digits and '_'. A key itself must stand in no recipe"
        )


def _check_whole(name: str, value: Any, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise PlanError(f"Endpoint({name}={short(value)}): must be a whole number from 1 to {most:,}")


def _check_number(name: str, value: Any, most: float) -> None:
    """Only a temperature may be 0."""
    good = type(value) in (int, float) and math.isfinite(value) and 0 <= value <= most
    if not good or (value == 0 and name != "temperature"):
        least = "0" if name == "temperature" else "above 0"
        raise PlanError(f"Endpoint({name}={short(value)}): must be a number from {least} to {most:g}")


def _price(value: Any) -> tuple[float, float]:
    pair = tuple(value) if isinstance(value, (list, tuple)) else ()
    good = all(type(one) in (int, float) and math.isfinite(one) and 0 <= one <= 1e9 for one in pair)
    if len(pair) != 2 or not good:
        raise PlanError(f"Endpoint(price={short(value)}): give the price of a million tokens in and out, as (0.5, 1.5)")
    return float(pair[0]), float(pair[1])
