Logs go to systemd's journal by its own protocol with `twistd --logger=ka_twisted.service.journal.observer`: with priorities, a traceback as one entry, and the fields of each event to search for.
