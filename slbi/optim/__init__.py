"""The optimizer: proximal maps, the equations of one step, and the class that keeps their state."""
