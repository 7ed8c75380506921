"""A model behind HTTP: ``app`` has the routes, ``batching`` runs the network, ``server`` listens."""
