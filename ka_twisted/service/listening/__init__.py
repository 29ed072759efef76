"""Ports: opened at once or not at all, kept over a reload, and closed without losing a connection."""
