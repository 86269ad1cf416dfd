"""PNG pictures of a run: plain data in, bytes out; matplotlib without pyplot or a display."""
