"""What a server is asked to be: read from the command line and the file, checked, and kept as a value."""
