"""The servers that are measured: each answers every request with the same twelve octets, as fast as it can."""
