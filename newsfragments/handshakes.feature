Connections that fail before HTTP began (TLS, PROXY header) are in the log, with the peer and OpenSSL's reason: ten a minute at most, the others are counted.
