"""
What happened on the connections: observers to be handed to a `KeepAliveFactory`.

They are called by the Twisted side and import nothing of it but the interface.
"""
