On a terminal, `twistd keepalive` says in one line where it listens and how to stop it, and shows the open connections and the seconds that are left while it drains.
