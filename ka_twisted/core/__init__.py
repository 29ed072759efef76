"""
HTTP/1 as a pure matter of octets and values: bytes in, events and bytes out.

Standard library and `ka_twisted.config` only. No Twisted, no zope, no clock, no logging, no sockets: whoever owns
those calls `server.ServerConnection`.
"""
