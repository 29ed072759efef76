`serve`, `MemoryServer`, `Request.respond` and `IApplication.handle` have real types: an editor completes the settings, and a type checker finds a wrong one.
