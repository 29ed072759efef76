"""A public signature says a real type: `Any` is the exception, and each one is listed here."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import ka_twisted

PACKAGE = Path(ka_twisted.__file__).parent

#: Right as they are. What an application keeps with a request is the application's own; the values of an option are of
#: whatever type the option has.
RIGHT = {
    "server/request.py": {"Request.state"},
    "service/configuration/setting.py": {"SourcedValue.value"},
}

#: Not yet looked at, or waiting for a protocol that names what is needed of a reactor or a transport. Take a name away
#: with each one that gets its type; add none.
OPEN = {
    "http1/server.py": {"ServerConnection.__init__(owner)"},
    "net/credentials.py": {"Credentials.key"},
    "net/handed.py": {"HandedTransport.__init__(transport)"},
    "net/output.py": {"OutputStream.__init__(transport)", "outputFor(transport)", "unsent(transport)"},
    "net/ports.py": {"PortEnd.close ->"},
    "net/private.py": {
        "acceptedOn(port)",
        "adoptedPort(arguments)",
        "adoptedPort(reactor)",
        "boundPath(port)",
        "neverShutDown(port)",
    },
    "net/proxied.py": {"ProxiedFactory.__init__(registry)", "ProxiedFactory.buildProtocol ->"},
    "net/registry.py": {"Stage.registry"},
    "net/stages.py": {"ConnectionStage.transport", "ConnectionStageFactory.__init__(registry)"},
    "net/tcp.py": {"isTcp(transport)", "peerOf(transport)", "setTcpKeepAlive(transport)", "socketOf(transport)"},
    "net/tls.py": {"TlsContexts.wrap(registry)"},
    "observe/counts.py": {"Counts.fromJson(value)"},
    "reactors/loop.py": {"TransportReactor.contexts", "TransportReactor.transports"},
    "reactors/ports.py": {
        "UNIXPort.transport ->",
        "UNIXPort.transport(details)",
        "UNIXPort.transport(protocol)",
        "adopted ->",
        "adopted(factory)",
    },
    "reactors/tcp.py": {
        "TcpClientTransport.__init__(connector)",
        "TcpClientTransport.__init__(protocol)",
        "TcpServerTransport.__init__(client)",
        "TcpServerTransport.__init__(protocol)",
        "TcpServerTransport.__init__(server)",
        "tcpAddress(name)",
    },
    "reactors/transport.py": {
        "UvloopTransport.__init__(protocol)",
        "UvloopTransport.getHandle ->",
        "UvloopTransport.startTLS(contextFactory)",
    },
    "reactors/unix.py": {
        "UnixServerTransport.__init__(client)",
        "UnixServerTransport.__init__(protocol)",
        "UnixServerTransport.__init__(server)",
    },
    "reactors/uvloop.py": {
        "UvloopReactor.addReader(reader)",
        "UvloopReactor.adoptStreamConnection ->",
        "UvloopReactor.adoptStreamConnection(factory)",
        "UvloopReactor.adoptStreamPort(factory)",
        "UvloopReactor.callLater(callable)",
        "UvloopReactor.connectTCP(bindAddress)",
        "UvloopReactor.connectTCP(factory)",
        "UvloopReactor.connectUNIX(address)",
        "UvloopReactor.connectUNIX(factory)",
        "UvloopReactor.getReaders ->",
        "UvloopReactor.getWriters ->",
        "UvloopReactor.listenTCP(factory)",
        "UvloopReactor.listenUNIX(address)",
        "UvloopReactor.listenUNIX(factory)",
        "UvloopReactor.removeAll ->",
        "UvloopReactor.removeReader(reader)",
        "UvloopReactor.spawnProcess ->",
        "UvloopReactor.spawnProcess(arguments)",
        "UvloopReactor.spawnProcess(named)",
    },
    "reactors/writing.py": {"WritingTransport.__init__(protocol)", "WritingTransport.registerProducer(producer)"},
    "server/awaiting.py": {
        "TaskResult.__init__(task)",
        "TaskResult.take(task)",
        "firstStep ->",
        "firstStep(running)",
        "outcome ->",
        "outcome(task)",
        "resumed ->",
        "resumed(awaited)",
        "resumed(running)",
        "waiting ->",
        "waiting(result)",
    },
    "server/driver.py": {"Driver.connected(transport)", "Driver.transport ->"},
    "server/eager.py": {"begin ->", "begin(rest)", "begin(running)"},
    "server/handover.py": {"HandOverDriver.transport ->"},
    "server/request.py": {"Request.pending"},
    "server/steps.py": {"rest ->", "rest(awaited)", "rest(running)"},
    "service/configuration/builder.py": {
        "ConfigurationBuilder.configuration(reactor)",
        "ConfigurationBuilder.value ->",
        "checkEndpoint(reactor)",
    },
    "service/configuration/endpoints.py": {"makeEndpoint(reactor)"},
    "service/configuration/example.py": {"literal(value)"},
    "service/configuration/options.py": {"Options.__init__(reactor)"},
    "service/configuration/profiles.py": {"plain(seconds)"},
    "service/configuration/setting.py": {
        "ChoiceSetting.accept ->",
        "ChoiceSetting.accept(value)",
        "CountSetting.accept ->",
        "CountSetting.accept(value)",
        "FieldSetting.accept ->",
        "FieldSetting.accept(value)",
        "LogFormatSetting.accept ->",
        "LogFormatSetting.accept(value)",
        "SecondsSetting.accept ->",
        "SecondsSetting.accept(value)",
        "Setting.accept ->",
        "Setting.accept(value)",
        "Setting.default",
        "Setting.example",
        "Setting.parameter ->",
        "SwitchSetting.default",
        "TcpKeepAliveSetting.accept ->",
        "TcpKeepAliveSetting.accept(value)",
        "WorkersSetting.accept ->",
        "WorkersSetting.accept(value)",
    },
    "service/configuration/valuetypes.py": {
        "ValueType.accept ->",
        "ValueType.accept(value)",
        "ValueType.acceptText ->",
        "ValueType.convert",
        "ValueType.parse",
        "ValueType.resolve",
    },
    "service/embedded.py": {"KeepAliveService.__init__(reactor)"},
    "service/jsonlog.py": {"choose(runner)"},
    "service/listening/balance.py": {"Share.__init__(reactor)", "Share.govern(port)"},
    "service/listening/binding.py": {
        "adopt(factory)",
        "adopt(reactor)",
        "closeAll ->",
        "closeNow(closing)",
        "closeNow(reactor)",
        "describeAddress(address)",
        "listenNow(factory)",
        "rehearse(reactor)",
    },
    "service/listening/operator.py": {"OperatorListener.__init__(reactor)"},
    "service/listening/ports.py": {"OpenPort.close ->", "Ports.__init__(reactor)", "Ports.closing ->"},
    "service/running/generation.py": {"Generation.__init__(reactor)"},
    "service/running/lifecycle.py": {"LifeCycle.__init__(reactor)"},
    "service/running/reload.py": {"Reloader.__init__(change)"},
    "service/running/serving.py": {"Server.__init__(reactor)"},
    "service/running/signals.py": {"OperatorSignals.__init__(reactor)", "StopSignals.__init__(reactor)"},
    "service/systemd/journal.py": {"observer ->"},
    "service/workers/aggregate.py": {"WorkersView.__init__(supervisor)"},
    "service/workers/channel.py": {"Channel.send(message)", "attach(reactor)"},
    "service/workers/process.py": {
        "WorkerProcess.__init__(reactor)",
        "WorkerProcess.ask ->",
        "WorkerProcess.ask(arguments)",
    },
    "service/workers/supervisor.py": {"Supervisor.__init__(reactor)"},
    "service/workers/unavailable.py": {"Unavailable.__init__(reactor)"},
    "service/workers/worker.py": {"Worker.__init__(reactor)"},
    "service/workers/workforce.py": {"Workforce.__init__(named)", "Workforce.__init__(reactor)"},
    "testing/connection.py": {"MemoryConnection.__init__(settings)", "ask(arguments)", "ask(named)"},
    "testing/transport.py": {"MemoryTransport.protocol"},
}


def mentionsAny(annotation: ast.expr | None) -> bool:
    if annotation is None:
        return False
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isprintable():
            try:
                quoted = ast.parse(node.value, mode="eval").body
            except SyntaxError:  # a word of a Literal
                continue
            if not isinstance(quoted, ast.Constant) and mentionsAny(quoted):
                return True
        if getattr(node, "id", None) == "Any" or getattr(node, "attr", None) == "Any":
            return True
    return False


def isPublic(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__call__")


def ofFunction(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    given = function.args
    parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    yield from (f"{function.name}({each.arg})" for each in parameters if each and mentionsAny(each.annotation))
    if mentionsAny(function.returns):
        yield f"{function.name} ->"


def ofBody(body: Sequence[ast.stmt]) -> Iterator[str]:
    """The public names of a module or a class whose annotation holds `Any`."""
    for node in body:
        if isinstance(node, ast.ClassDef) and isPublic(node.name):
            yield from (f"{node.name}.{name}" for name in ofBody(node.body))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and isPublic(node.name):
            yield from ofFunction(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            yield from [name] if isPublic(name) and mentionsAny(node.annotation) else []


def found() -> dict[str, set[str]]:
    names = {
        path.relative_to(PACKAGE).as_posix(): set(ofBody(ast.parse(path.read_text(encoding="utf-8")).body))
        for path in PACKAGE.rglob("*.py")
        if not path.name.startswith("_") or path.name == "__init__.py"
    }
    return {module: those for module, those in names.items() if those}


def test_no_public_signature_gets_a_new_any() -> None:
    added = {
        module: sorted(new)
        for module, names in found().items()
        if (new := names - RIGHT.get(module, set()) - OPEN.get(module, set()))
    }
    assert added == {}, "give these a real type"


def test_an_any_is_found_wherever_a_signature_has_one() -> None:
    source = """
class Public:
    field: list[Any]
    _own: Any
    def method(self, a: int, *b: "dict[str, Any]", c: typing.Any = None) -> Literal["Any other"]: ...
    def _own(self, a: Any) -> Any: ...
class _Private:
    field: Any
async def function(a: Callable[[Any], int]) -> Any: ...
"""
    names = ["Public.field", "Public.method(c)", "Public.method(b)", "function(a)", "function ->"]
    assert list(ofBody(ast.parse(source).body)) == names
