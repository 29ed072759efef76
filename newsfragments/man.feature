The distribution installs a manual page, `man twistd-keepalive`; `python -m ka_twisted man` prints it.
