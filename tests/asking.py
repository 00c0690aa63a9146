"""How tests ask servers on loopback, which do not speak TLS."""

import ssl

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For `verify` of httpx: by default it reads all authorities of the machine at each call, which takes 26 ms."""
