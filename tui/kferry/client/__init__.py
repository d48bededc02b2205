"""What both faces share: the session with the engine, actions, formats, exit codes. It never acts on a cluster."""
