"""
What a server is asked to be: read from the command line and the file, checked, and kept as one value.

Nothing here opens a port, writes a file or changes what runs: a `values.Configuration` is made, or a sentence says why
not. `settings` lists what can be set, `options` is the command line, `files` the file, `builder` puts both together.
"""
