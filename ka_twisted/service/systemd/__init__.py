"""What systemd and a service say to each other, the journal, and units."""
