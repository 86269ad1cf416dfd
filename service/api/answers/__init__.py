"""What the routes answer: the shapes of their JSON, a file for each kind of thing."""
