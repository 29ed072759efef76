"""What `deploy/systemd/` holds, made of the template; ``python -m tests.deploy.units`` writes it anew."""

from __future__ import annotations

from pathlib import Path

from ka_twisted.service.systemd.units import Socket, Unit, listenTables

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"

TWISTD = "/opt/ka_twisted/bin/twistd"

_SEVERAL = (
    Socket("web", "0.0.0.0:80"),
    Socket("web6", "[::]:80"),
    Socket("local", "/run/ka_twisted-local.socket"),
)


def unit(*sockets: Socket, command: str = TWISTD) -> Unit:
    """An ordinary service: a virtual environment below /opt, a configuration below /etc, systemd of Debian 12."""
    config = "/etc/ka_twisted/ka_twisted.toml"
    return Unit("ka_twisted", [command], config, "/opt/ka_twisted", sockets=sockets)


def texts(command: str = TWISTD) -> dict[str, str]:
    """All files, by their paths below `FOLDER`."""
    single, several = _SEVERAL[:1], _SEVERAL
    return {
        **unit(*single, command=command).files(),
        "ka_twisted.toml": configuration(*single),
        **{f"several-sockets/{name}": text for name, text in unit(*several, command=command).files().items()},
        "several-sockets/ka_twisted.toml": configuration(*several),
    }


def configuration(*sockets: Socket) -> str:
    """What a configuration needs for these; install-service writes one that shows everything."""
    return f"# /etc/ka_twisted/ka_twisted.toml\n{listenTables([place.endpoint for place in sockets])}"


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text, "utf-8")
