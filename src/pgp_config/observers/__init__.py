"""What can be done with events: one module an observer."""
