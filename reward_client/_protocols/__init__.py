"""The HTTP APIs of servers: requests out, responses in. One package for each kind of server."""
