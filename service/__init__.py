"""The service: jobs over HTTP, kept in SQL, run by workers that it only knows by task name."""
