"""The objects that the operator makes for an ImageJob: pure functions from specs to what is sent to the API server."""
