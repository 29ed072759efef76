"""Reactors: Twisted's interfaces over other event loops. They need nothing else of ka_twisted."""
