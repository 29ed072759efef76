Where asyncio runs the reactor, a coroutine that answers a request, and an async body, is a task: it may await futures of asyncio and Deferreds alike, and is cancelled when the client goes.
