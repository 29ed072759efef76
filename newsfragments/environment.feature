Every option of `twistd keepalive` has an environment variable as well, `KA_TWISTED_IDLE_TIMEOUT` for `--idle-timeout`; the command line wins over the
environment, and that over the configuration file.
