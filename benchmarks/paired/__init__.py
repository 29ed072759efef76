"""
This tree beside another commit of it: processor time per request, and memory of an idle connection.

``revision`` builds the other commit in an environment of its own, ``measure`` puts both under the same load in turn,
``report`` shows what came of it, ``command`` is what is typed.
"""
