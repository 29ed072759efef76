"""The public surface is what it says, and all of it."""

from __future__ import annotations

import importlib
import inspect

import pytest

import ka_twisted

PUBLIC = {
    "CloseReason",
    "KeepAliveFactory",
    "KeepAliveProtocol",
    "KeepAliveService",
    "Limits",
    "Persistence",
    "Policy",
    "Request",
    "Response",
    "Serving",
    "Sites",
    "Switch",
    "TcpKeepAlive",
    "Timeouts",
    "serve",
}
#: Public modules beside the package itself, and what people take from them.
MODULES = {
    "ka_twisted.admin.interfaces": {"AboutJson", "ConnectionsJson", "IServerView", "WorkerJson"},
    "ka_twisted.interfaces": {"IConnection", "IConnectionObserver", "IConnectionRegistry", "IDrainable"},
    "ka_twisted.observe.accesslog": {"AccessLog"},
    "ka_twisted.observe.connections": {"ConnectionLog"},
    "ka_twisted.observe.metrics": {"Metrics"},
    "ka_twisted.testing": {
        "MemoryClient", "MemoryConnection", "MemoryExchange", "MemoryServer", "MemoryStream", "MemoryTransport",
        "ParsedResponse", "ask", "parseResponses",
    },
}  # fmt: skip


def test_the_names_of_the_package() -> None:
    assert set(ka_twisted.__all__) == PUBLIC
    assert ka_twisted.__all__ == sorted(ka_twisted.__all__, key=str)
    assert len(ka_twisted.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_is_there_and_says_what_it_is_for(name: str) -> None:
    thing = getattr(ka_twisted, name)
    assert inspect.getdoc(thing)
    assert inspect.isclass(thing) or inspect.isfunction(thing)


def test_the_package_exports_nothing_else_of_its_own() -> None:
    own = {name for name, thing in vars(ka_twisted).items() if not name.startswith("_") and not inspect.ismodule(thing)}
    assert own == PUBLIC


@pytest.mark.parametrize(("module", "names"), MODULES.items())
def test_the_public_names_of_other_modules(module: str, names: set[str]) -> None:
    found = importlib.import_module(module)
    own = {
        name
        for name, thing in vars(found).items()
        if not name.startswith("_") and getattr(thing, "__module__", "").startswith(module)
    }
    assert own == names
    assert all(inspect.getdoc(getattr(found, name)) for name in names)


HOOKS = {
    "requestReceived": ["self", "request"],
    "continueExpected": ["self", "request"],
    "persistenceDecided": ["self", "request", "decision"],
    "connectionClosed": ["self", "reason"],
}
VIEWS = {
    "requestCount", "id", "peer", "host", "secure", "age", "state", "lastDecision", "closeReason", "bytesReceived",
    "bytesSent", "lateBytes",
}  # fmt: skip


@pytest.mark.parametrize(("name", "parameters"), HOOKS.items())
def test_the_hooks_of_a_protocol(name: str, parameters: list[str]) -> None:
    hook = getattr(ka_twisted.KeepAliveProtocol, name)
    assert list(inspect.signature(hook).parameters) == parameters
    assert inspect.getdoc(hook)


def test_the_attributes_of_a_protocol() -> None:
    assert set(dir(ka_twisted.KeepAliveProtocol)) >= VIEWS | {
        "drain",
        "abort",
        "setTcpKeepAlive",
        "factory",
    } - {"factory"}


def test_the_parameters_of_a_factory() -> None:
    parameters = inspect.signature(ka_twisted.KeepAliveFactory).parameters
    names = [
        "handler", "protocol", "timeouts", "limits", "policy", "tcpKeepAlive", "observers", "upgrades",
        "trustedProxies", "reactor", "wallClock",
    ]  # fmt: skip
    assert list(parameters) == names
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in names[1:])
    assert parameters["handler"].default is inspect.Parameter.empty


def test_what_a_request_shows() -> None:
    shown = {name for name in dir(ka_twisted.Request) if not name.startswith("_")}
    assert shown == {
        "body", "client", "connection", "contentLength", "exchange", "expectation", "finished", "framing", "headers",
        "host", "interim", "log", "method", "number", "path", "pending", "persistence", "query", "read", "respond",
        "start", "started", "state", "streamCancelled", "streamConcluded", "target", "upgrades", "version",
    }  # fmt: skip


def test_the_ways_to_make_a_response() -> None:
    made = {name for name in dir(ka_twisted.Response) if not name.startswith("_")}
    assert made == {
        "body",
        "fields",
        "file",
        "html",
        "json",
        "optionalTrailers",
        "status",
        "stream",
        "text",
        "trailers",
    }
    parameters = list(inspect.signature(ka_twisted.Response).parameters)
    assert parameters == ["status", "body", "headers", "length", "trailers", "optionalTrailers"]
