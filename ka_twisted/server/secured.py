"""What HTTP says on a TLS port: the names that ALPN offers, and the answer to a client that speaks without TLS."""

from __future__ import annotations

#: HTTP/1.1 and what it includes, as registered for RFC 7301.
HTTP1_PROTOCOLS = (b"http/1.1", b"http/1.0")
#: What a client is sent that speaks HTTP without TLS.
TLS_REQUIRED = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 32\r\nConnection: close\r\n\r\n"
    b"this port speaks HTTP over TLS.\n"
)
