from served import server  # noqa: F401
