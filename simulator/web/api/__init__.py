"""The REST API, `/api/v1`: the questions of the command line, with the same answers."""
