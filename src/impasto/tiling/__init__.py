"""Pictures of any size within a budget of memory: what it costs, a plan, and painting in bands."""
