"""A mixed load on a real Envoy, with faults at random, compared with what a sequential model says of each exchange."""
