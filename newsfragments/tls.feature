TLS with certificates by name, client certificates, a time for handshakes, and files that are read anew when they change; handshakes that fail are counted, not logged.
