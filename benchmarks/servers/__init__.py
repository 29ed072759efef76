"""
The servers that are measured.

Each answers ``/`` with the same twelve octets, as fast as it can. Some also do as `benchmarks.experiments.bodies` asks:
``/memory/OCTETS`` and ``/file/OCTETS`` answer so many octets, ``/upload`` counts those of the request's body.
"""
