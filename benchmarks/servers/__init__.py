"""
The servers that are measured.

Each answers ``/`` with the same twelve bytes, as fast as it can. Some also do as `benchmarks.experiments.bodies` asks:
``/memory/MAX_BYTES`` and ``/file/MAX_BYTES`` answer so many bytes, ``/upload`` counts those of the request's body.
"""
