"""
What every version of HTTP and both of its ends share (RFC 9110), as pure matters of bytes and values.

Standard library and `ka_twisted.config` only. No Twisted, no zope, no clock, no logging, no sockets.
"""
