"""A model behind HTTP: ``app`` has the routes, ``batching`` gathers pictures, ``server`` runs it."""
