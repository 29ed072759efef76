"""From ``module:attribute`` to the application that answers requests. Each failure is one sentence."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from types import ModuleType
from typing import Any, cast

from ...server.application import HandlerApplication, IApplication
from ...server.hooks import Handler
from ..errors import oneLine


class ApplicationError(Exception):
    """The named application cannot be used; the text is one sentence that says why."""


def loadApplication(name: str) -> IApplication:
    """
    Import the application called ``module:attribute``, also from the working directory.

    It provides `IApplication`, can be adapted to it, or is a handler.

    :param name: the attribute may be dotted, as in ``shop.web:site.handler``.
    :raises ApplicationError: when there is no such module or attribute, when its import fails, or
        when it is neither an application nor something that can be called with one request.
    """
    found = _loadAttribute(name)
    if isinstance(found, type) and IApplication.implementedBy(found):
        raise ApplicationError(f"{name} is a class; name an instance of it")
    if IApplication(found, None) is None:
        if not callable(found):
            raise ApplicationError(f"{name} is not callable but {_article(type(found).__name__)}")
        _checkSignature(name, found)
    return applicationOf(found)


def applicationOf(found: Handler | IApplication) -> IApplication:
    """A handler, or what provides or can be adapted to `IApplication`, as an application."""
    application: IApplication | None = IApplication(found, None)
    return HandlerApplication(cast(Handler, found)) if application is None else application


def checkName(name: str) -> None:
    """
    See whether this is written as an application is; it is not imported.

    :raises ApplicationError: when it is not.
    """
    moduleName, colon, path = name.partition(":")
    parts = [*moduleName.split("."), *path.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise ApplicationError(f"an application is written module:attribute, not {name!r}")


def _loadAttribute(name: str) -> Any:
    checkName(name)
    moduleName, _, path = name.partition(":")
    found: Any = _importModule(moduleName)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ApplicationError(f"the module {moduleName} has no attribute {path}") from None
    return found


def _importModule(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise ApplicationError(f"there is no module {name}") from None
        raise ApplicationError(_importFailed(name, error)) from error
    except (Exception, SystemExit) as error:
        raise ApplicationError(_importFailed(name, error)) from error


def _importFailed(name: str, error: BaseException) -> str:
    return f"the module {name} cannot be imported: {type(error).__name__}: {oneLine(error)}"


def _checkSignature(name: str, handler: Handler) -> None:
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return  # a callable from C may not say what it takes
    try:
        signature.bind(None)
    except TypeError:
        raise ApplicationError(f"{name} takes {signature}, but a handler is called with one request") from None


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
