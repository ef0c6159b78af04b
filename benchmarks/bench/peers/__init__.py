"""One module a peer or family of peers: how its documentation says that one gets a value."""
