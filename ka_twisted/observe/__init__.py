"""
What happens on connections, counted, logged and remembered: observers for a `KeepAliveFactory`.

They know connections through `interfaces.IConnection` and requests as `core.exchange.Exchange`, whatever version of
HTTP carried them, and import nothing of the engine.
"""
