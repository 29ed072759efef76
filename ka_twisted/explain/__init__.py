"""``python -m ka_twisted explain``: what a message does to its connection, and by which rule."""
