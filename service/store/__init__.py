"""Tables and queries, shared by the service and worker.jobs. Nothing here commits."""
