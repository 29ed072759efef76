"""
Listening sockets: all opened or none, kept over a reload, shared fairly between processes, closed without losing a
connection.

What is spoken on their connections is decided elsewhere and handed in as a factory.
"""
