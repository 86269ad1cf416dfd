"""When a network is widened, where and by how much, with which values, and the surgery itself."""
