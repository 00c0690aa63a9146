"""Client addresses as a campaign wants them kept: as a salted hash, as they are, or not at all."""

import hashlib
import ipaddress
from functools import lru_cache
from typing import Literal

DIGEST = 16
"""Bytes of a hash."""


class Addresses:
    """Writes addresses for rows. Until the campaign's salt is known, a hash cannot be made and nothing is written."""

    def __init__(self, mode: Literal["Hash", "Store", "Drop"], salt: bytes = b"") -> None:
        self.mode = mode
        self._salt = salt[: hashlib.blake2b.MAX_KEY_SIZE]
        self.kept = lru_cache(maxsize=8_192)(self._kept)

    def _kept(self, address: str) -> str:
        if self.mode == "Drop" or (self.mode == "Hash" and not self._salt):
            return ""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return ""
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        if self.mode == "Store":
            return str(parsed)
        return hashlib.blake2b(parsed.packed, key=self._salt, digest_size=DIGEST).hexdigest()
