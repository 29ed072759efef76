`--log-json` writes the server's own log as JSON, one object a line, with what each event is about and tracebacks as members.
