"""What a server is told: its address, keys and bounds."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from diptych.core import UsageError

MEBIBYTE = 2**20
PICTURES = 32
"""Largest pictures of one request together, where no budget of pixels is set."""


@dataclass(frozen=True)
class Settings:
    """Address, keys and bounds of a server.

    Args:
        keys: secrets, one of which every request must show; (): none is asked for.
        insecure: listen on an address that other machines reach, without keys.
        largest_batch: most inputs that are encoded at once.
        longest_wait: seconds that the first request of a batch waits for others, where the last one had some.
        capacity: inputs of one client that may wait; above it its requests are refused with status 429.
        timeout: seconds until a request is given up with status 504.
        max_bytes: size of a request's body.
        max_pixels: width times height of a picture, read from its header before it is decoded.
        max_request_pixels: pixels of all pictures of one request; None: ``PICTURES`` of the largest.
        max_inputs: texts and pictures of one request.
        truncate: cut texts that are longer than a model reads, instead of refusing them.
        aliases: further names of models: name -> the name under which it was loaded.
        fetch_from: origins such as "http://label-studio:8080" from which pictures are fetched; (): none.
        training: let requests use systems that learn from the photos that they send.
        hosts: names under which the server is reached, beside ``host`` and those of loopback.

    Raises:
        UsageError: a bound that cannot mean anything, or an address that needs a key.

    Example:
        >>> Settings(host="0.0.0.0")
        Traceback (most recent call last):
        ...
        diptych.core.errors.UsageError: Other machines reach 0.0.0.0: give a file of keys in keys, or ...
    """

    host: str = "127.0.0.1"
    port: int = 7070
    keys: tuple[str, ...] = field(default=(), repr=False)
    insecure: bool = False
    largest_batch: int = 32
    longest_wait: float = 0.004
    capacity: int = 256
    timeout: float = 30.0
    max_bytes: int = 32 * MEBIBYTE
    max_pixels: int = 50_000_000
    max_request_pixels: int | None = None
    max_inputs: int = 2048
    truncate: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    fetch_from: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    training: bool = False

    def __post_init__(self) -> None:
        for name in ("largest_batch", "capacity", "timeout", "max_bytes", "max_pixels", "max_inputs"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} must be above 0, got {getattr(self, name)}.")
        if self.pixel_budget < self.max_pixels:
            raise UsageError(
                f"{{max_request_megapixels}} must be at least {{max_megapixels}}, got {self.pixel_budget / 1e6:g} and "
                f"{self.max_pixels / 1e6:g}."
            )
        if self.longest_wait < 0:
            raise UsageError(f"longest_wait must be 0 or more seconds, got {self.longest_wait}.")
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port must be in 0 to 65535, got {self.port}.")
        if short := next((key for key in self.keys if len(key) < 16), None):
            raise UsageError(f"A key has {len(short)} characters, and needs at least 16: write a longer one.")
        if not self.loopback and not self.keys and not self.insecure:
            raise UsageError(f"Other machines reach {self.host}: give a file of keys in {{keys}}, or use {{insecure}}.")

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the address."""
        return is_loopback(self.host)

    @property
    def pixel_budget(self) -> int:
        """Pixels of all pictures of one request."""
        return PICTURES * self.max_pixels if self.max_request_pixels is None else self.max_request_pixels

    def admits(self, secret: str) -> bool:
        """Return whether a secret is one of the keys, in a time that does not depend on how much of it is right."""
        given = sha256(secret.encode("utf-8", "surrogateescape")).digest()
        right = [hmac.compare_digest(given, sha256(key.encode()).digest()) for key in self.keys]
        return any(right)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is that of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_keys(path: Path) -> tuple[str, ...]:
    """Return the keys of a file, one per line; empty lines and lines with "#" in front are left out.

    Raises:
        UsageError: the file is missing, or holds no key.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The keys {path} cannot be read ({error}): give a text file with one key per line.") from None
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise UsageError(f"{path} holds no key: write one per line.")
    return keys


def read_aliases(values: Sequence[str], models: Sequence[str]) -> dict[str, str]:
    """Return name -> model of "NAME=MODEL" lines.

    Raises:
        UsageError: a line of another form, or a model that is not served.
    """
    aliases = {}
    for value in values:
        name, _, model = value.partition("=")
        if not name or model not in models:
            raise UsageError(f"An alias is NAME=MODEL with a model of {', '.join(models)}, not {value!r}.")
        aliases[name] = model
    return aliases
