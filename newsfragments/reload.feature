SIGHUP puts a new configuration into effect without dropping a connection, or keeps the old one and says why; certificates are read when their files change; SIGUSR1 opens the access log anew.
