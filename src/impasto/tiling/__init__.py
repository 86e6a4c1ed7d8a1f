"""Pictures of any size within a budget of memory: what it costs, a plan, and the walk in bands."""
