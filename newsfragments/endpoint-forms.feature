`--listen`, `--admin` and `endpoint` in the configuration file take what other servers take: `8080`, `:8080`, `127.0.0.1:8080`,
`[::1]:8080`, `localhost:8080`, `/run/app.socket`. What cannot be meant is refused with what to write.
