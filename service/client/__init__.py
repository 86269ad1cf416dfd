"""The Python client: one call a route, with retries, resumed downloads and a followed stream."""
