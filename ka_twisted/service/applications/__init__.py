"""
Applications: found by name, loaded, started, and joined to one handler by the sites that they answer for.

Nothing here knows where an application was named, how connections come, or what else the process does.
"""
