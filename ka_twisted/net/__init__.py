"""
The mechanics of connections on Twisted that know no HTTP: sending at once, deadlines on a clock, closing in stages,
what stands before a connection's protocol (PROXY header, TLS), and TCP options.
"""
