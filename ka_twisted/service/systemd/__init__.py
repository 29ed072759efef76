"""
systemd's side: notifications, the watchdog and stored sockets, the journal, and the units that ``install-service``
writes.

Everything here works without systemd as well: then nothing is sent.
"""
