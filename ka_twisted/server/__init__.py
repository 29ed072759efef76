"""The Twisted side of a server: one protocol and one factory, and what handlers are given and return."""
