"""
HTTP/1 (RFC 9112) as a pure matter of bytes and values: bytes in, events and bytes out, for both ends of a connection.

Standard library, `ka_twisted.config` and `ka_twisted.core` only. No Twisted, no zope, no clock, no logging, no sockets:
these belong to the owner of a `server.ServerConnection`.
"""
