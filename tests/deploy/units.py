"""What `deploy/systemd/` holds, made of the template; ``python -m tests.deploy.units`` writes it anew."""

from __future__ import annotations

from pathlib import Path

from ka_twisted.service.units import Socket, Unit, listenTables

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
    several = {
        **unit(*_SEVERAL, command=command).files(),
        "ka_twisted.toml": "# The part of the configuration that takes the sockets.\n"
        + listenTables([place.endpoint for place in _SEVERAL]),
    }
    return {
        **unit(_SEVERAL[0], command=command).files(),
        **{f"several-sockets/{name}": text for name, text in several.items()},
    }


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text, "utf-8")
