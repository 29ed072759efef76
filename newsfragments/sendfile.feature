Files go out by `sendfile` on plain TCP and UNIX streams, and no body is copied on its way out: what the socket does not take waits as it is.
