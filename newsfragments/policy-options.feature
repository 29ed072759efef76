`--persistent`, `--keep-alive-10`, `--chunked-responses`, `--empty-host` and `--length-required` set the `Policy` of `twistd keepalive`, as `[policy]` of the configuration file does.
