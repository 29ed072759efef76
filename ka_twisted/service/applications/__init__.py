"""Applications: found by name, loaded, and joined to one handler."""
