`twistd keepalive --check` shows the timers and limits that hold, `--check --show` every setting with its value and where it came from
(line of the file, variable, option, profile or default); `--verbose` logs the timers and limits as a table.
