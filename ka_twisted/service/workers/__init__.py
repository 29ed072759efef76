"""
Several processes on the same listening sockets: the supervisor that starts and replaces workers, the worker's own
process, and what they send each other.

A worker serves with `running`, as a single process does; only what it takes to be one of several is here.
"""
