"""Whether growth is healthy: filters learn, none is dead, widths agree, runs end by themselves."""
