"""The life of a process that serves: start, reload, drain and end."""
