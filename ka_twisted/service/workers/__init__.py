"""Several processes on the same sockets: the supervisor, the workers, and what they say to each other."""
