"""HTTP: routes, what they take and answer, and what surrounds every request."""
