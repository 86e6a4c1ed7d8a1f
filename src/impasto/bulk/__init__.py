"""Any number of pictures and films painted by one request: on one machine or a cluster, each exactly once."""
