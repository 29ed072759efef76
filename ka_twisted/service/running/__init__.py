"""
The life of one process that serves: start, reload, drain, stop, and the signals that ask for these.

A `generation.Generation` is one configuration in force; `lifecycle` is what a process that serves (`serving`) and one
that supervises workers have in common. Other processes are not known here.
"""
