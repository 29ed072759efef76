`--workers N` serves with N processes that share the listening sockets evenly, are supervised, and are replaced one by one on SIGHUP without a failed request.
