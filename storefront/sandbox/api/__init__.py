"""The routes of Flexprice, one module per resource: read the request, call the engine, write the answer."""
