`--trusted-proxies` names networks of proxies that are believed about the client of a request, by `Forwarded` or `X-Forwarded-For`: it is `Request.client`, and the client's address in the access log.
